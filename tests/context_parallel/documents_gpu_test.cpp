// Packed documents on one GPU, through the front door: against the reference in fp64, in a few calls of kernels.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include <string>

#include "ringtron/comm/local_communicator.h"
#include "ringtron/context_parallel/run/run_schedule.h"
#include "ringtron/context_parallel/schedule/lower.h"
#include "tests/context_parallel/attention_case.h"
#include "tests/support/tensor_near.h"

namespace ringtron {
namespace {

using testing::AttentionCase;
using testing::CaseSizes;
using testing::Results;

constexpr double kTolerance = 4e-3;  // norm of the error over norm of the truth, as for whole blocks in bf16

class CallCounter final : public RunObserver {
 public:
  void begin(std::string_view what, int) override { calls += what == "attend"; }
  void end() override {}
  int calls = 0;
};

double relative_error(const at::Tensor& got, const at::Tensor& expected) {
  return (got.to(at::kCPU, at::kDouble) - expected).norm().item<double>() / expected.norm().item<double>();
}

AttentionCase rounded_case(const CaseSizes& sizes) {
  AttentionCase c = testing::make_case(sizes);
  for (at::Tensor* x : {&c.q, &c.k, &c.v, &c.d_out}) *x = x->to(at::kBFloat16).to(at::kDouble);
  return c;
}

// Every `step` tokens or so.
std::vector<std::int64_t> starts(std::int64_t length, std::int64_t step, std::int64_t seed) {
  std::vector<std::int64_t> starts;
  for (std::int64_t position = 1 + seed; position < length; position += 1 + (position * 7919 + seed) % (2 * step)) {
    starts.push_back(position);
  }
  return starts;
}

class DocumentsGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  }

  // On one rank; `layers` calls, the results of the last.
  Results run(const AttentionCase& c, CpAttentionOptions options = {}, int layers = 1) {
    counter_.calls = 0;
    options.observer = &counter_;
    const SequenceLayout layout = contiguous_layout(c.q.size(0), 1);
    const auto attention = make_cp_attention(group_, layout, options);
    const auto on_gpu = [](const at::Tensor& x) { return x.to(at::kCUDA, at::kBFloat16); };
    AttentionCall call = c.call;
    if (call.sink.defined()) call.sink = call.sink.to(at::kCUDA, at::kFloat);
    Results results;
    for (int layer = 0; layer < layers; ++layer) {
      results = testing::forward_backward({on_gpu(c.q), on_gpu(c.k), on_gpu(c.v), on_gpu(c.d_out)}, call,
                                          [&](const auto& q, const auto& k, const auto& v, const AttentionCall& one) {
                                            return attention->forward(q, k, v, one);
                                          });
    }
    proof_ = attention->proof().table();
    return results;
  }

  static void expect_near(const Results& got, const Results& expected) {
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_LE(relative_error(got[i], expected[i]), kTolerance) << testing::kResultNames[i];
    }
  }

  LocalCommunicator group_{"context-parallel", 0};
  CallCounter counter_;
  std::vector<std::int64_t> proof_;
};

CaseSizes sizes_of(std::vector<std::vector<std::int64_t>> documents) {
  return {.sequence = 1000,
          .batch = static_cast<std::int64_t>(documents.size()),
          .heads = 4,
          .groups = 2,
          .head_size = 64,
          .documents = std::move(documents)};
}

TEST_F(DocumentsGpu, OneCallEachWayMatchesTheReference) {
  for (const bool causal : {true, false}) {
    CaseSizes sizes = sizes_of({starts(1000, 60, 0)});
    sizes.causal = causal;
    const AttentionCase c = rounded_case(sizes);
    expect_near(run(c, {}, 2), testing::reference_results(c));
    EXPECT_EQ(counter_.calls, 4);  // two layers, each forward and backward
    EXPECT_EQ(check_exchange({proof_}), std::vector<std::string>{});
  }
}

TEST_F(DocumentsGpu, SamplesHaveTheirOwnDocuments) {
  const AttentionCase different = rounded_case(sizes_of({starts(1000, 60, 0), {}, starts(1000, 3, 2)}));
  expect_near(run(different), testing::reference_results(different));
  EXPECT_EQ(counter_.calls, 2);
  EXPECT_EQ(check_exchange({proof_}), std::vector<std::string>{});
  const AttentionCase same = rounded_case(sizes_of({starts(1000, 60, 1), starts(1000, 60, 1)}));
  expect_near(run(same), testing::reference_results(same));
  EXPECT_EQ(counter_.calls, 2);
  EXPECT_EQ(check_exchange({proof_}), std::vector<std::string>{});
}

TEST_F(DocumentsGpu, SinksWindowsAndOddHeadsStillWork) {
  CaseSizes sink = sizes_of({starts(1000, 60, 3)});
  sink.softmax = SoftmaxKind::learnable;
  CaseSizes window = sizes_of({starts(1000, 60, 4)});
  window.window = {.left = 20};
  CaseSizes odd = sizes_of({starts(1000, 200, 5)});
  odd.head_size = 20;
  for (const CaseSizes& sizes : {sink, window, odd}) {
    const AttentionCase c = rounded_case(sizes);
    expect_near(run(c), testing::reference_results(c));
    EXPECT_EQ(check_exchange({proof_}), std::vector<std::string>{});
  }
}

TEST_F(DocumentsGpu, DeterministicBackwardRepeatsItsBits) {
  const AttentionCase c = rounded_case(sizes_of({starts(1000, 100, 6)}));
  const CpAttentionOptions options{.deterministic = true};
  const Results first = run(c, options);
  EXPECT_GT(counter_.calls, 3);
  expect_near(first, testing::reference_results(c));
  const Results again = run(c, options);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_TENSOR_EQUAL(again[i], first[i]);
}

TEST_F(DocumentsGpu, ComparisonSeesABoundaryThatIsOff) {
  std::vector<std::int64_t> documents = starts(1000, 60, 7);
  const AttentionCase right = rounded_case(sizes_of({documents}));
  for (std::int64_t& start : documents) start += start + 1 < 1000 ? 1 : 0;
  const AttentionCase wrong = rounded_case(sizes_of({documents}));
  const Results got = run(wrong), expected = testing::reference_results(right);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_GT(relative_error(got[i], expected[i]), 10 * kTolerance);
}

// A plan of two steps, as a rank of a ring has it: batches that leave rows out are merged.
TEST_F(DocumentsGpu, TwoStepsMerge) {
  const CaseSizes sizes = sizes_of({starts(1000, 60, 8), starts(1000, 300, 9)});
  const AttentionCase c = rounded_case(sizes);
  const std::vector<AttentionMask> masks = testing::masks_of(sizes);
  ExchangePlan plan{0, {Step{}, Step{}}};
  const PositionRange halves[] = {{0, 430}, {430, 1000}};
  for (std::size_t step = 0; step < 2; ++step) {
    for (const PositionRange& queries : halves) {
      for (int sample = 0; sample < 2; ++sample) {
        for (const MaskTile& tile : masks[static_cast<std::size_t>(sample)].tiles(queries, halves[step])) {
          plan.steps[step].tasks.push_back({tile.queries, 0, tile.keys, tile.band, sample});
        }
      }
    }
  }
  const SequenceLayout layout = contiguous_layout(1000, 1);
  const RankSchedules schedules = lower({1, layout, {plan, plan, 0}}, {c.q.size(2), c.k.size(2), true, true});
  const auto block = make_cudnn_block_attention(false);
  PassContext context{group_, layout, *block};
  context.scale = c.call.scale;
  context.heads = c.q.size(2);
  context.groups = c.k.size(2);
  context.observer = &counter_;
  context.varied_shapes = true;
  const auto on_gpu = [](const at::Tensor& x) { return x.to(at::kCUDA, at::kBFloat16); };
  const ForwardResult forward = run_forward(schedules.forward, context, on_gpu(c.q), on_gpu(c.k), on_gpu(c.v), nullptr);
  const Gradients gradients = run_backward(schedules.backward, context, forward.saved, on_gpu(c.d_out));
  expect_near({forward.out, gradients.dq, gradients.dk, gradients.dv}, testing::reference_results(c));
  // Squares and rectangles of the first half, squares of the second; forward and backward.
  EXPECT_EQ(counter_.calls, 6);
}

}  // namespace
}  // namespace ringtron
