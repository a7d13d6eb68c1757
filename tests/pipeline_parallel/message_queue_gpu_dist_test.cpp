// A queue of messages between two GPUs by copy engines: who is late by turns, what is sent is overwritten when it may
// be, and where it arrives is in use until late.
#include <ATen/ATen.h>
#include <ATen/cuda/Sleep.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include "ringtron/comm/make_communicator.h"
#include "ringtron/pipeline_parallel/message_queue.h"
#include "tests/support/multi_rank.h"

namespace ringtron {
namespace {

constexpr std::int64_t kLateness = 5'000'000;  // cycles: some 3 ms
constexpr int kMessages = 24, kAhead = 4;

at::Tensor message(int number) {
  return at::arange(3'000'001, at::TensorOptions().device(at::kCUDA).dtype(at::kLong))
      .add(number)
      .remainder(127)
      .to(at::kFloat);
}

void send_all(Communicator& group, MessageWay way) {
  MessageSender sender(group, way, /*most=*/3);
  for (int i = 0; i < kMessages; ++i) {
    if (i % 5 == 0) at::cuda::sleep(kLateness);
    sender.send(message(i));
  }
  sender.finish();
}

void receive_all(Communicator& group, MessageWay way, at::Device device) {
  MessageReceiver receiver(group, way, device);
  std::vector<at::Tensor> into, before;
  std::vector<Work> works;
  const auto post = [&] {
    const at::Tensor place = at::full({3'000'001}, -1.0, at::TensorOptions().device(device));
    if (into.size() % 3 == 0) at::cuda::sleep(kLateness);
    before.push_back(place.clone());
    into.push_back(place);
    works.push_back(receiver.receive(place));
  };
  for (int i = 0; i < kAhead; ++i) post();
  for (int i = 0; i < kMessages; ++i) {
    const auto own = static_cast<std::size_t>(i);
    works[own].wait();
    EXPECT_TRUE(into[own].equal(message(i))) << "message " << i;
    EXPECT_TRUE(before[own].eq(-1.0).all().item<bool>()) << "message " << i << " came before its place was free";
    if (i + kAhead < kMessages) post();
  }
}

DIST_TEST(MessageQueueGpu, ByCopies, 2) {
  if (c10::cuda::device_count() < ranks.size()) GTEST_SKIP() << "fewer GPUs than ranks";
  c10::cuda::set_device(static_cast<c10::DeviceIndex>(ranks.rank()));
  const auto device = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(ranks.rank()));
  const auto group = make_communicator(Backend::nccl, "world", {0, 1}, ranks.rendezvous());
  const MessageWay way = connect_messages(*group, device);
  EXPECT_EQ(way, MessageWay::copy_engine) << "without NVLink NCCL carries messages; stderr says why";
  if (ranks.rank() == 0)
    send_all(*group, way);
  else
    receive_all(*group, way, device);
  ranks.meet();
}

}  // namespace
}  // namespace ringtron
