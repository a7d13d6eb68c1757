// Attends beside each other on one GPU: the same bits as one after the other, and nobody's memory taken away.
#include "ringtron/context_parallel/attend_streams.h"

#include <ATen/ATen.h>
#include <ATen/cuda/Sleep.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <gtest/gtest.h>

#include <cmath>
#include <utility>
#include <vector>

#include "ringtron/context_parallel/block_attention.h"

namespace ringtron {
namespace {

using internal::AttendStreams;

constexpr std::int64_t kLongKernel = 50'000'000;  // cycles: some 30 ms

class AttendStreamsGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (c10::cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
  }

  const at::Device gpu_{at::kCUDA, 0};
};

TEST_F(AttendStreamsGpu, AttendsRunBesideTheCallersStreamUntilJoined) {
  const at::Tensor written = at::zeros({1024}, gpu_), early = at::empty({1024}, gpu_), late = at::empty({1024}, gpu_);
  {
    AttendStreams streams(gpu_, true);
    streams.inputs_are_given();
    {
      const auto scope = streams.next();
      at::cuda::sleep(kLongKernel);
      written.fill_(1);
    }
    early.copy_(written);
    streams.join();
    late.copy_(written);
  }
  EXPECT_EQ(early.sum().item<double>(), 0) << "not beside each other";
  EXPECT_EQ(late.sum().item<double>(), 1024);
}

TEST_F(AttendStreamsGpu, AnAttendWaitsForItsInputsAndTheCallerForAll) {
  const at::Tensor input = at::zeros({1024}, gpu_), output = at::zeros({1024}, gpu_);
  at::cuda::sleep(kLongKernel);
  input.fill_(2);
  {
    AttendStreams streams(gpu_, true);
    streams.inputs_are_given();
    const auto scope = streams.next();
    at::cuda::sleep(kLongKernel);
    output.copy_(input);
  }
  EXPECT_EQ(output.sum().item<double>(), 2048);
}

TEST_F(AttendStreamsGpu, NotWantedEverythingStaysInTheCallersStream) {
  const auto stream = c10::cuda::getCurrentCUDAStream();
  AttendStreams streams(gpu_, false);
  streams.inputs_are_given();
  const auto scope = streams.next();
  EXPECT_EQ(c10::cuda::getCurrentCUDAStream(), stream);
}

// What the caller's stream reads of an attend's result while later attends write what they get of memory, among them on the
// stream that had the result; the host lets the result go before the device has read it. {least, greatest} of what was read.
std::pair<double, double> read_while_others_write(at::Device gpu, float value, bool told) {
  at::Tensor read;
  AttendStreams streams(gpu, true);
  streams.inputs_are_given();
  at::Tensor given;
  {
    const auto scope = streams.next();
    given = at::full({1 << 20}, value, at::TensorOptions(gpu).dtype(at::kFloat));
    if (told) streams.gives({given});
  }
  streams.join();
  streams.inputs_are_given();  // as at the begin of a step, before results are used
  at::cuda::sleep(kLongKernel / 10);
  read = given + 0;
  given.reset();
  for (int other = 0; other < 6; ++other) {
    const auto scope = streams.next();
    at::full({1 << 20}, -1, at::TensorOptions(gpu).dtype(at::kFloat));
  }
  streams.join();
  return {read.min().item<double>(), read.max().item<double>()};
}

TEST_F(AttendStreamsGpu, ResultsLetGoEarlyAreNotOverwritten) {
  for (int round = 0; round < 20; ++round) {
    EXPECT_EQ(read_while_others_write(gpu_, static_cast<float>(round), true), std::pair(1.0 * round, 1.0 * round));
  }
}

// The control: of a result that was not told, the memory is given out too early.
TEST_F(AttendStreamsGpu, ResultsNotToldAreOverwritten) {
  EXPECT_EQ(read_while_others_write(gpu_, 7, false), std::pair(-1.0, -1.0));
}

struct Inputs {
  at::Tensor q, k, v, d_out;
};

// cuDNN's kernels count tiles in memory of the call's own; if they shared it, results would differ here.
TEST_F(AttendStreamsGpu, BesideEachOtherTheSameBits) {
  const auto block = make_cudnn_block_attention(false);
  const auto options = at::TensorOptions(gpu_).dtype(at::kHalf);
  std::vector<Inputs> inputs;
  std::vector<BlockResult> forward;
  std::vector<BlockGradient> backward;
  const auto call_of = [](std::size_t i) {
    BlockCall call;
    call.scale = 1 / std::sqrt(128.0);
    call.band = i % 2 == 0 ? Band::causal() : Band::all();
    return call;
  };
  const auto gradient_of = [&](std::size_t i, const BlockResult& result) {
    return block->backward(inputs[i].q, inputs[i].k, inputs[i].v, {inputs[i].d_out, result.out, result.lse, {}}, call_of(i));
  };
  for (std::size_t i = 0; i < 6; ++i) {
    const std::int64_t rows = 2048;
    inputs.push_back({at::randn({rows, 1, 16, 128}, options), at::randn({rows, 1, 4, 128}, options),
                      at::randn({rows, 1, 4, 128}, options), at::randn({rows, 1, 16, 128}, options)});
    forward.push_back(block->forward(inputs[i].q, inputs[i].k, inputs[i].v, call_of(i)));
    backward.push_back(gradient_of(i, forward[i]));
  }
  for (int round = 0; round < 20; ++round) {
    std::vector<BlockResult> results;
    std::vector<BlockGradient> gradients;
    AttendStreams streams(gpu_, true);
    streams.inputs_are_given();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const auto scope = streams.next();
      results.push_back(block->forward(inputs[i].q, inputs[i].k, inputs[i].v, call_of(i)));
      gradients.push_back(gradient_of(i, results.back()));
      streams.gives({results[i].out, results[i].lse, gradients[i].dq, gradients[i].dk, gradients[i].dv});
    }
    streams.join();
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      ASSERT_TRUE(at::equal(results[i].out, forward[i].out)) << "attend " << i << " of round " << round;
      ASSERT_TRUE(at::equal(results[i].lse, forward[i].lse));
      ASSERT_TRUE(at::equal(gradients[i].dk, backward[i].dk));
      ASSERT_TRUE(at::equal(gradients[i].dv, backward[i].dv));
      // Added up in another order each time.
      const double error = (gradients[i].dq - backward[i].dq).to(at::kFloat).norm().item<double>();
      ASSERT_LT(error, 1e-3 * backward[i].dq.to(at::kFloat).norm().item<double>());
    }
  }
}

}  // namespace
}  // namespace ringtron
