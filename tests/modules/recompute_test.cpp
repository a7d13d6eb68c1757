// A segment that is run again in backward gives the same bits, once, and keeps nothing but its inputs.
#include "ringtron/modules/recompute.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "ringtron/base/error.h"
#include "ringtron/base/random.h"
#include "ringtron/kernels/dropout/dropout.h"
#include "tests/support/allocation_peak.h"
#include "tests/support/random_tensor.h"

namespace ringtron {
namespace {

using ::testing::ElementsAre;

at::Tensor leaf(at::IntArrayRef sizes, int seed) { return testing::random_tensor(sizes, seed).set_requires_grad(true); }

DropoutRegion region(std::int64_t rows, std::int64_t samples) {
  return {at::arange(rows, at::kLong), at::arange(samples, at::kLong)};
}

// Two matrices, a nonlinearity and dropout: x [s, b, h].
struct SmallSegment {
  at::Tensor first = leaf({6, 16}, 1), second = leaf({16, 6}, 2);
  std::uint64_t key = 77;

  at::Tensor operator()(const at::Tensor& x) const {
    const at::Tensor hidden = at::gelu(at::matmul(x, first));
    return x + dropout(at::matmul(hidden, second), 0.3, key, region(x.size(0), x.size(1)));
  }
};

struct Outcome {
  at::Tensor out, dx, d_first, d_second;
  bool operator==(const Outcome& other) const {
    return out.equal(other.out) && dx.equal(other.dx) && d_first.equal(other.d_first) && d_second.equal(other.d_second);
  }
};

Outcome outcome(const SmallSegment& layer, const std::function<at::Tensor(const at::Tensor&)>& run) {
  const at::Tensor x = leaf({5, 2, 6}, 3), d_out = testing::random_tensor({5, 2, 6}, 4);
  layer.first.mutable_grad().reset();
  layer.second.mutable_grad().reset();
  const at::Tensor out = run(x * 2.0);
  torch::autograd::backward({out}, {d_out});
  return {out.detach(), x.grad(), layer.first.grad(), layer.second.grad()};
}

TEST(Recomputed, HasTheSameBits) {
  const SmallSegment layer;
  int runs = 0;
  const SegmentFunction segment = [&](std::span<const at::Tensor> inputs) {
    ++runs;
    return layer(inputs[0]);
  };
  const Outcome kept = outcome(layer, [&](const at::Tensor& x) { return layer(x); });
  const Outcome again = outcome(layer, [&](const at::Tensor& x) { return recomputed(segment, {x}); });
  EXPECT_TRUE(again == kept);
  EXPECT_EQ(runs, 2);
}

TEST(Recomputed, SeveralInputs) {
  const SmallSegment layer;
  const SegmentFunction segment = [&](std::span<const at::Tensor> inputs) {
    return layer(inputs[0]) * inputs[1] + inputs[2];
  };
  const at::Tensor constant = testing::random_tensor({5, 2, 6}, 5), other = leaf({5, 2, 6}, 6);
  std::vector<at::Tensor> gradients;
  const auto run = [&](bool again) {
    const Outcome result = outcome(layer, [&](const at::Tensor& x) {
      const std::vector<at::Tensor> inputs = {x, constant, other};
      return again ? recomputed(segment, inputs) : segment(inputs);
    });
    gradients.push_back(other.grad().clone());
    other.mutable_grad().reset();
    return result;
  };
  EXPECT_TRUE(run(true) == run(false));
  EXPECT_TRUE(gradients[0].equal(gradients[1]));
  EXPECT_FALSE(constant.grad().defined());
}

// Negative control: a segment that drops other elements the second time is no recomputation.
TEST(Recomputed, ASegmentThatForgetsItsDropoutIsSeen) {
  SmallSegment layer;
  const Outcome kept = outcome(layer, [&](const at::Tensor& x) { return layer(x); });
  const Outcome again = outcome(layer, [&](const at::Tensor& x) {
    const at::Tensor out = recomputed([&](std::span<const at::Tensor> inputs) { return layer(inputs[0]); }, {x});
    layer.key = 78;
    return out;
  });
  EXPECT_TRUE(again.out.equal(kept.out));
  EXPECT_FALSE(again.dx.equal(kept.dx));
  EXPECT_FALSE(again.d_first.equal(kept.d_first));
}

TEST(Recomputed, WithoutGradientsTheSegmentJustRuns) {
  const SmallSegment layer;
  const at::Tensor x = testing::random_tensor({5, 2, 6}, 3);
  const SegmentFunction segment = [&](std::span<const at::Tensor> inputs) { return layer(inputs[0]); };
  EXPECT_THROW(recomputed(segment, {x}), InternalError) << "the parameters would get no gradient";
  const at::NoGradGuard off;
  EXPECT_TRUE(recomputed(segment, {x}).equal(layer(x)));
}

class Count final : public torch::autograd::PostAccumulateGradHook {
 public:
  Count(std::vector<std::string>* calls, std::string name) : calls_(calls), name_(std::move(name)) {}
  void operator()(const at::Tensor&) override { calls_->push_back(name_); }

 private:
  std::vector<std::string>* calls_;
  std::string name_;
};

// What GradientReducer relies on: one call for each parameter, as soon as its gradient is there.
TEST(Recomputed, HooksOfParametersRunOnceInTheOrderOfBackward) {
  const SmallSegment one, two;
  std::vector<std::string> calls;
  const auto watch = [&](const at::Tensor& parameter, const char* name) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameter, std::make_unique<Count>(&calls, name));
  };
  watch(one.first, "one.first");
  watch(one.second, "one.second");
  watch(two.first, "two.first");
  watch(two.second, "two.second");
  const at::Tensor x = leaf({5, 2, 6}, 3);
  at::Tensor out = recomputed([&](std::span<const at::Tensor> inputs) { return one(inputs[0]); }, {x});
  out = recomputed([&](std::span<const at::Tensor> inputs) { return two(inputs[0]); }, {out});
  EXPECT_TRUE(calls.empty());
  torch::autograd::backward({out.sum()});
  EXPECT_THAT(calls, ElementsAre("two.second", "two.first", "one.second", "one.first"));
}

// Within one segment too: the gradients of its last layer are there while its first layer has not gone back
// yet, so their reduction can begin.
TEST(Recomputed, GradientsDoNotWaitForTheEndOfTheSegment) {
  const SmallSegment one, two;
  std::vector<std::string> calls;
  torch::autograd::impl::set_post_acc_grad_hooks(two.first, std::make_unique<Count>(&calls, "two.first"));
  torch::autograd::impl::set_post_acc_grad_hooks(one.first, std::make_unique<Count>(&calls, "one.first"));
  const at::Tensor out = recomputed(
      [&](std::span<const at::Tensor> inputs) {
        const at::Tensor middle = one(inputs[0]);
        if (middle.requires_grad()) {
          middle.register_hook([&](const at::Tensor& gradient) {
            calls.emplace_back("middle");
            return gradient;
          });
        }
        return two(middle);
      },
      {leaf({5, 2, 6}, 3)});
  torch::autograd::backward({out.sum()});
  EXPECT_THAT(calls, ElementsAre("two.first", "middle", "one.first"));
}

// An error of the second run comes out of backward as it is.
TEST(Recomputed, ErrorsComeOutOfBackward) {
  int runs = 0;
  const at::Tensor x = leaf({2}, 1);
  const at::Tensor out = recomputed(
      [&](std::span<const at::Tensor> inputs) {
        if (++runs == 2) throw CommError("context-parallel group: rank 1 is gone");
        return inputs[0] * 2;
      },
      {x});
  EXPECT_THROW(torch::autograd::backward({out.sum()}), CommError);
}

// Ten segments of large hidden tensors: kept they are all there at once, recomputed only one is.
TEST(Recomputed, KeepsTheInputsOnly) {
  constexpr std::int64_t kRows = 256, kHidden = 16, kWide = 512, kSegments = 10;
  constexpr std::int64_t kNarrowBytes = kRows * kHidden * 8, kWideBytes = kRows * kWide * 8;
  const at::Tensor up = leaf({kHidden, kWide}, 1), down = leaf({kWide, kHidden}, 2);
  const SegmentFunction segment = [&](std::span<const at::Tensor> inputs) {
    return at::matmul(at::gelu(at::matmul(inputs[0], up)), down);
  };
  const auto held_after_forward = [&](bool again) {
    const testing::AllocationPeak memory;
    at::Tensor x = leaf({kRows, kHidden}, 3);
    for (int i = 0; i < kSegments; ++i) x = again ? recomputed(segment, {x}) : segment({&x, 1});
    return memory.current();
  };
  EXPECT_GE(held_after_forward(false), kSegments * 2 * kWideBytes);
  const std::int64_t kept = held_after_forward(true);
  EXPECT_GE(kept, (kSegments + 1) * kNarrowBytes);
  EXPECT_LT(kept, (kSegments + 2) * kNarrowBytes);
}

}  // namespace
}  // namespace ringtron
