// What the monitor of a group on a device holds, and for how long.
#include "ringtron/comm/nccl/watchdog.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>

namespace ringtron {
namespace {

// An operation that ends when told, and like c10d's holds its output.
class ToldWork final : public c10d::Work {
 public:
  explicit ToldWork(at::Tensor output) : output_(std::move(output)) {}
  bool isCompleted() override { return ended; }
  std::vector<at::Tensor> result() override { return {output_}; }

  std::atomic<bool> ended = false;

 private:
  at::Tensor output_;
};

TEST(Watchdog, HoldsNoTensorOfAnOperationThatWasWaitedFor) {
  Watchdog watch;
  at::Tensor output = at::ones({8});
  const c10::weak_intrusive_ptr<c10::TensorImpl> held(output.getIntrusivePtr());
  const Watchdog::Handle operation = watch.add(c10::make_intrusive<ToldWork>(std::move(output)));
  EXPECT_FALSE(held.expired()) << "not waited for: c10d still writes to it";
  EXPECT_TRUE(watch.work(operation));
  bool ended = false;
  watch.waited(operation, [&] { return ended; });
  EXPECT_TRUE(held.expired());
  EXPECT_FALSE(watch.work(operation));
  EXPECT_TRUE(watch.oldest().has_value()) << "the device has not come to it yet";
  ended = true;
  EXPECT_FALSE(watch.oldest().has_value());
}

TEST(Watchdog, TellsWhenTheOldestBegan) {
  Watchdog watch;
  EXPECT_FALSE(watch.oldest().has_value());
  const auto first = c10::make_intrusive<ToldWork>(at::Tensor()), second = c10::make_intrusive<ToldWork>(at::Tensor());
  const auto start = std::chrono::steady_clock::now();
  watch.add(first);
  const auto between = std::chrono::steady_clock::now();
  watch.add(second);
  EXPECT_GE(*watch.oldest(), start);
  EXPECT_LE(*watch.oldest(), between);
  first->ended = true;
  EXPECT_GE(*watch.oldest(), between) << "that of the second";
  second->ended = true;
  EXPECT_FALSE(watch.oldest().has_value());
}

// It is started on a stream, so it has not ended before the one in front has.
TEST(Watchdog, AnOperationBehindOneThatHangsIsNotLookedAt) {
  Watchdog watch;
  const auto hanging = c10::make_intrusive<ToldWork>(at::Tensor()),
             behind = c10::make_intrusive<ToldWork>(at::Tensor());
  watch.add(hanging);
  watch.add(behind);
  behind->ended = true;
  EXPECT_TRUE(watch.oldest().has_value());
}

TEST(Watchdog, ADeviceThatFailsEndsWhatWasUnderWay) {
  Watchdog watch;
  const Watchdog::Handle operation = watch.add(c10::make_intrusive<ToldWork>(at::Tensor()));
  watch.waited(operation, []() -> bool { throw std::runtime_error("an illegal memory access was encountered"); });
  EXPECT_FALSE(watch.oldest().has_value());
  watch.add(c10::make_intrusive<ToldWork>(at::Tensor()));
  watch.clear();
  EXPECT_FALSE(watch.oldest().has_value());
}

}  // namespace
}  // namespace ringtron
