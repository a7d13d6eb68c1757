// Memory that runs out is told in one line, without LibTorch's stack frames.
#include "ringtron/train/memory/out_of_memory.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include "ringtron/base/error.h"
#include "ringtron/comm/local_communicator.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/run_as_rank.h"

namespace ringtron {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::int64_t kTooMuch = std::int64_t{1} << 50;  // no machine has it

template <class Action>
std::string words_of(Action action) {
  try {
    try {
      action();
    } catch (const std::exception&) {
      rethrow_readable("THE MODEL HOLDS IT");
    }
  } catch (const std::exception& e) {
    return std::string(dynamic_cast<const OutOfMemory*>(&e) != nullptr ? "memory: " : "other: ") + e.what();
  }
  return "nothing";
}

TEST(OutOfMemory, OfATensorSaysHowMuchAndWhatHoldsIt) {
  EXPECT_EQ(words_of([] { at::empty({kTooMuch}, at::kFloat); }),
            "memory: out of memory: 4.0 PiB more were asked for. THE MODEL HOLDS IT");
}

TEST(OutOfMemory, OfOurOwnContainers) {
  EXPECT_EQ(words_of([] { throw std::bad_alloc(); }),
            "memory: out of memory: the system gave no more. THE MODEL HOLDS IT");
}

TEST(OutOfMemory, OfAGpu) {
  const std::string text =
      "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which ...";
  EXPECT_EQ(words_of([&] { throw c10::OutOfMemoryError({"f", "file.cpp", 1}, text); }),
            "memory: out of memory: 20.00 GiB more were asked for. THE MODEL HOLDS IT");
}

TEST(OutOfMemory, OtherErrorsOfLibTorchHaveNoFrames) {
  const std::string text = words_of([] { at::zeros({2, 3}).matmul(at::zeros({2, 3})); });
  EXPECT_THAT(text, AllOf(::testing::StartsWith("other: "), HasSubstr("2x3"), Not(HasSubstr("frame #")),
                          Not(HasSubstr("Exception raised"))));
}

TEST(OutOfMemory, OurOwnErrorsStayWhatTheyAre) {
  EXPECT_EQ(words_of([] { throw OutOfMemory("told already"); }), "memory: told already");
  EXPECT_THROW(
      {
        try {
          throw ConfigError("x");
        } catch (const std::exception&) {
          rethrow_readable("");
        }
      },
      ConfigError);
}

TEST(OutOfMemory, IsSharedAsSuch) {
  LocalCommunicator world("world", 0);
  EXPECT_EQ(words_of([&] { run_collectively(world, [] { at::empty({kTooMuch}, at::kFloat); }); }),
            "memory: rank 0: out of memory: 4.0 PiB more were asked for");
}

TEST(OutOfMemory, EndsAProgramWithOneLine) {
  ::testing::internal::CaptureStderr();
  const int code = run_main("program", [] {
    return run_as_rank([](StopSignals&) -> int { return static_cast<int>(at::empty({kTooMuch}, at::kFloat).numel()); });
  });
  const std::string text = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(code, kExitFailure);
  EXPECT_THAT(text, AllOf(::testing::StartsWith("program: out of memory: 4.0 PiB"), HasSubstr("--micro-batch-size")));
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST(OutOfMemory, WithoutLibTorchToo) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(run_main("tool", []() -> int { throw std::bad_alloc(); }), kExitFailure);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "tool: out of memory: the system gave no more. Smaller sizes need less\n");
}

}  // namespace
}  // namespace ringtron
