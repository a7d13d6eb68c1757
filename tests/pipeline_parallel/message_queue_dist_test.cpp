// A queue of messages between two ranks, both ways of carrying them, on a CPU, where Gloo carries the copies too: they
// arrive in the order of the sends, whatever the receiver waits for first.
#include "ringtron/pipeline_parallel/message_queue.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "ringtron/base/error.h"
#include "tests/support/multi_rank.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::ThrowsMessage;

at::Tensor message(int number) { return at::full({5, 3}, 10.0 + number, at::kDouble); }

// Never sends anything, but counts whose message has been waited for.
class Unsent final : public Communicator {
 public:
  const std::string& name() const override { return name_; }
  int rank() const override { return 0; }
  int size() const override { return 2; }
  int global_rank(int group_rank) const override { return group_rank; }
  Work all_reduce(at::Tensor, ReduceOp) override { return {}; }
  Work all_gather(at::Tensor, at::Tensor) override { return {}; }
  Work reduce_scatter(at::Tensor, at::Tensor, ReduceOp) override { return {}; }
  Work all_to_all(at::Tensor, at::Tensor) override { return {}; }
  Work exchange(std::span<const Send>, std::span<const Receive>) override { return begun(); }
  Work broadcast(at::Tensor, int) override { return begun(); }
  void barrier() override {}

  std::vector<int> waited_for;  // by number of the message

 private:
  struct Waiting final : Work::State {
    Waiting(Unsent& of, int with_number) : group(of), number(with_number) {}
    void wait() override { group.waited_for.push_back(number); }
    Unsent& group;
    int number;
  };
  Work begun() { return Work(std::make_shared<Waiting>(*this, messages_++)); }

  std::string name_ = "unsent";
  int messages_ = 0;
};

void expect_messages(testing::RankContext& ranks, MessageWay way) {
  constexpr int kMessages = 7;
  if (ranks.rank() == 0) {
    MessageSender sender(ranks.world(), way, /*most=*/3);
    for (int i = 0; i < kMessages; ++i) sender.send(message(i));
    EXPECT_NO_THROW(sender.finish());
    return;
  }
  MessageReceiver receiver(ranks.world(), way, at::kCPU);
  std::vector<at::Tensor> into;
  std::vector<Work> works;
  for (int i = 0; i < kMessages; ++i) {
    into.push_back(at::zeros({5, 3}, at::kDouble));
    works.push_back(receiver.receive(into.back()));
  }
  works[3].wait();
  EXPECT_TENSOR_EQUAL(into[3], message(3));
  for (Work& work : works) work.wait();
  for (int i = 0; i < kMessages; ++i) EXPECT_TENSOR_EQUAL(into[static_cast<std::size_t>(i)], message(i));
}

DIST_TEST(MessageQueue, InOrderByBroadcasts, 2) { expect_messages(ranks, MessageWay::broadcast); }
DIST_TEST(MessageQueue, InOrderByCopies, 2) { expect_messages(ranks, MessageWay::copy_engine); }

// So that no more than `most` messages are kept in memory.
DIST_TEST(MessageQueue, ASenderWaitsForItsOldest, 1) {
  for (const MessageWay way : {MessageWay::broadcast, MessageWay::copy_engine}) {
    Unsent group;
    MessageSender sender(group, way, /*most=*/3);
    for (int i = 0; i < 3; ++i) sender.send(message(i));
    EXPECT_THAT(group.waited_for, IsEmpty());
    for (int i = 3; i < 5; ++i) sender.send(message(i));
    EXPECT_THAT(group.waited_for, ElementsAre(0, 1));
    sender.finish();
    EXPECT_THAT(group.waited_for, ElementsAre(0, 1, 2, 3, 4));
  }
}

DIST_TEST(MessageQueue, BroadcastsOnACpu, 2) {
  EXPECT_EQ(connect_messages(ranks.world(), at::kCPU), MessageWay::broadcast);
}

DIST_TEST(MessageQueue, ADeadSenderIsACommError, 2) {
  ranks.world().barrier();
  ranks.meet();
  if (ranks.rank() == 0) {
    ranks.announce_death();
    std::raise(SIGKILL);
  }
  MessageReceiver receiver(ranks.world(), MessageWay::copy_engine, at::kCPU);
  const at::Tensor into = at::zeros({5, 3}, at::kDouble);
  Work work = receiver.receive(into);
  EXPECT_THAT([&] { work.wait(); }, ThrowsMessage<CommError>(HasSubstr("rank 0 died")));
  EXPECT_THROW(work.wait(), CommError) << "a Work may be waited for twice";
}

}  // namespace
}  // namespace ringtron
