// Both ways of a message, and why a receiver asks late. See message_queue.h.
#include "ringtron/pipeline_parallel/message_queue.h"

namespace ringtron {
namespace {

constexpr int kFrom = 0, kTo = 1;  // places in the group

}  // namespace

MessageWay connect_messages(Communicator& group, at::Device device) {
  if (uses_copy_engines(group, device)) return MessageWay::copy_engine;
  group.barrier();  // NCCL connects at the first operation, which must not wait then
  return MessageWay::broadcast;
}

void MessageSender::send(at::Tensor tensor) {
  if (under_way_.size() == most_) {
    under_way_.front().second.wait();
    under_way_.pop_front();
  }
  const Send message{kTo, tensor};
  Work work = way_ == MessageWay::copy_engine ? group_.exchange({&message, 1}, {}) : group_.broadcast(tensor, kFrom);
  under_way_.emplace_back(std::move(tensor), std::move(work));
}

void MessageSender::finish() {
  for (; !under_way_.empty(); under_way_.pop_front()) under_way_.front().second.wait();
}

// An exchange of a receiver waits for the sender's host. So it is called when the message is wanted, by when the sender
// has been asked for it, and not when it could first be received: no two hosts wait for each other then that would not
// wait for each other's messages anyhow (check_pipeline_schedule()).
struct MessageReceiver::Copies {
  struct Message {
    at::Tensor into;
    StreamMoment free;  // from here on nothing uses `into`
    Work work;
    bool is_asked_for = false;
  };

  Copies(Communicator& to_group, at::Device on_device) : group(to_group), device(on_device), side(on_device) {}

  // Messages come in the order of the sends.
  void ask_up_to(const std::shared_ptr<Message>& last) {
    while (!last->is_asked_for) {
      const std::shared_ptr<Message> next = posted.front();
      const Receive receive{kFrom, next->into};
      const SideStream::Use use(side, std::move(next->free));
      next->work = group.exchange({}, {&receive, 1});  // if it throws, so does the next wait
      next->is_asked_for = true;
      posted.pop_front();
    }
  }

  Communicator& group;
  at::Device device;
  SideStream side;
  std::deque<std::shared_ptr<Message>> posted;
};

MessageReceiver::MessageReceiver(Communicator& group, MessageWay way, at::Device device) : group_(group) {
  if (way == MessageWay::copy_engine) copies_ = std::make_shared<Copies>(group, device);
}

MessageReceiver::~MessageReceiver() = default;

Work MessageReceiver::receive(const at::Tensor& into) {
  if (!copies_) return group_.broadcast(into, kFrom);

  class Fetched final : public Work::State {
   public:
    Fetched(std::shared_ptr<Copies> copies, std::shared_ptr<Copies::Message> message)
        : copies_(std::move(copies)), message_(std::move(message)) {}
    void wait() override {
      copies_->ask_up_to(message_);
      message_->work.wait();
    }

   private:
    std::shared_ptr<Copies> copies_;
    std::shared_ptr<Copies::Message> message_;
  };

  auto message = std::make_shared<Copies::Message>(Copies::Message{into, StreamMoment(copies_->device), {}});
  copies_->posted.push_back(message);
  return Work(std::make_shared<Fetched>(copies_, std::move(message)));
}

}  // namespace ringtron
