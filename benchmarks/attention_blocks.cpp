// attention_blocks: how fast each kernel does a block of attention on one GPU, with and without dropout.
//
//   build/cuda/benchmarks/attention_blocks [--rows 8192] [--heads 32] [--groups 32] [--head-size 128] [--repeats 8]
//
// Prints markdown. Outputs and gradients of kernels that compute the same are compared first; where they differ nothing
// is timed. Times are of the device, medians, with fresh data each step.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/config/parse.h"
#include "ringtron/context_parallel/block/block_attention.h"
#include "ringtron/tools/profile/device_clock.h"
#include "ringtron/tools/take_flag.h"
#include "ringtron/train/run_as_rank.h"

namespace ringtron {
namespace {

constexpr double kTolerance = 1e-2;  // relative to the norm: bf16 against bf16
constexpr std::int64_t kRowsCompared = 1000;

struct Sizes {
  std::int64_t rows = 8192, heads = 32, groups = 32, size = 128;
  int repeats = 8;
};

struct Kernel {
  std::string name;
  std::unique_ptr<BlockAttention> attention;
  bool dropout;
};

struct Block {
  at::Tensor q, k, v, d_out;
};

Block made(const Sizes& z, std::int64_t rows) {
  const at::TensorOptions options = at::TensorOptions(at::kCUDA).dtype(at::kBFloat16);
  const auto random = [&](std::int64_t heads) { return at::randn({rows, 1, heads, z.size}, options); };
  return {random(z.heads), random(z.groups), random(z.groups), random(z.heads)};
}

// A causal square, whose dropout `positions` belong to.
struct Call {
  Call(const Sizes& z, std::int64_t rows, bool drops) : positions{{0, rows}} {
    block.scale = 1.0 / std::sqrt(static_cast<double>(z.size));
    block.band = Band::causal();
    if (!drops) return;
    block.dropout = &dropout;
    block.q_positions = block.kv_positions = positions;
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  AttentionDropout dropout{.p = 0.1, .key = 1, .sample_numbers = {0}};
  std::vector<PositionRange> positions;
  BlockCall block;
};

struct Results {
  std::vector<at::Tensor> tensors;  // out, dq, dk, dv
  double forward = 0, backward = 0;
};

Results run(const BlockAttention& attention, const Block& b, const BlockCall& call) {
  DeviceClock clock(b.q.device());
  clock.mark();
  const BlockResult forward = attention.forward(b.q, b.k, b.v, call);
  clock.mark();
  at::Tensor delta;
  if (attention.wants_delta())
    delta = (b.d_out.to(at::kFloat) * forward.out.to(at::kFloat)).sum(-1).permute({1, 2, 0}).contiguous();
  const at::Tensor out = forward.out.to(b.q.scalar_type());
  clock.mark();
  const BlockGradient back = attention.backward(b.q, b.k, b.v, {b.d_out, out, forward.lse, delta}, call);
  clock.mark();
  const std::vector<double> at = clock.seconds();
  return {{forward.out, back.dq, back.dk, back.dv}, at[1] - at[0], at[3] - at[2]};
}

bool agree(const Sizes& z, const std::vector<Kernel>& kernels) {
  at::manual_seed(1);
  const Block block = made(z, kRowsCompared);
  for (const bool drops : {false, true}) {
    const Call call(z, kRowsCompared, drops);
    const Results truth = run(*make_composed_block_attention(), block, call.block);
    for (const Kernel& kernel : kernels) {
      if (kernel.dropout != drops) continue;
      const Results got = run(*kernel.attention, block, call.block);
      for (std::size_t i = 0; i < truth.tensors.size(); ++i) {
        const at::Tensor expected = truth.tensors[i].to(at::kFloat);
        const double error = ((got.tensors[i].to(at::kFloat) - expected).norm() / expected.norm()).item<double>();
        if (error <= kTolerance) continue;
        warn_line(fmt::format("{}: result {} differs from the composed one's by {:.1e}", kernel.name, i, error));
        return false;
      }
    }
  }
  return true;
}

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

void time_kernel(const Sizes& z, const Kernel& kernel) {
  const Call call(z, z.rows, kernel.dropout);
  std::vector<double> forward, backward;
  for (int i = -3; i < z.repeats; ++i) {
    const Results results = run(*kernel.attention, made(z, z.rows), call.block);
    if (i < 0) continue;
    forward.push_back(results.forward);
    backward.push_back(results.backward);
  }
  const double cells = static_cast<double>(call.block.band.area(z.rows, z.rows) * z.heads * z.size);
  const double f = median(forward), b = median(backward);
  print_line(fmt::format("| {} | {:.2f} ms, {:.0f} | {:.2f} ms, {:.0f} | {:.2f} ms |", kernel.name, 1e3 * f,
                         4 * cells / f / 1e12, 1e3 * b, 10 * cells / b / 1e12, 1e3 * (f + b)));
}

Sizes sizes_in(std::vector<std::string> words) {
  Sizes z;
  z.rows = take_count(words, "--rows").value_or(static_cast<int>(z.rows));
  z.heads = take_count(words, "--heads").value_or(static_cast<int>(z.heads));
  z.groups = take_count(words, "--groups").value_or(static_cast<int>(z.heads));
  z.size = take_count(words, "--head-size").value_or(static_cast<int>(z.size));
  z.repeats = take_count(words, "--repeats").value_or(z.repeats);
  if (!words.empty())
    throw ConfigError(fmt::format("expected --rows, --heads, --groups, --head-size or --repeats, got '{}'", words[0]));
  return z;
}

int measure(const Sizes& z) {
  if (c10::cuda::device_count() == 0) throw ConfigError("attention_blocks: expected a GPU, got none");
  std::vector<Kernel> kernels;
  kernels.push_back({"cuDNN", make_cudnn_block_attention(false), false});
  kernels.push_back({"cuDNN, deterministic", make_cudnn_block_attention(true), false});
  kernels.push_back({"FlashAttention of ATen", make_flash_cuda_block_attention(), false});
  kernels.push_back({"ours", make_fused_cuda_block_attention(), false});
  kernels.push_back({"ours, dropout", make_fused_cuda_block_attention(), true});
  kernels.push_back({"composed, dropout", make_composed_block_attention(), true});
  if (!agree(z, kernels)) return kExitFailure;
  print_line(fmt::format(
      "One causal block of {} rows, {}/{} heads of {}, bf16; outputs and gradients equal the composed ones\n", z.rows,
      z.heads, z.groups, z.size));
  print_line("| kernel | forward, TFLOP/s | backward, TFLOP/s | both |");
  print_line("|---|---|---|---|");
  for (const Kernel& kernel : kernels) time_kernel(z, kernel);
  return kExitOk;
}

}  // namespace
}  // namespace ringtron

int main(int argc, char** argv) {
  using namespace ringtron;
  return run_main("attention_blocks",
                  [&] { return run_as_rank([&](StopSignals&) { return measure(sizes_in(arguments(argc, argv))); }); });
}
