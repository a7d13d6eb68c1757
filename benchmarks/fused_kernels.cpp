// fused_kernels: how close the memory-bound kernels of a training step come to a copy, on one GPU.
//
//   build/cuda/benchmarks/fused_kernels [--rows 8192] [--hidden 4096] [--ffn 13696] [--heads 32] [--vocab 50304]
//   [--repeats 20]
//
// Prints markdown: the bytes that each kernel must read and write at least once, over its time on the device (median),
// over the same of a copy between. benchmarks/torch_fused_kernels.py times what torch.compile makes of the same
// formulas. That the kernels compute the right thing is for tests/kernels/fused_kernels_gpu_test.cpp to say.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/config/parse.h"
#include "ringtron/kernels/activation/activation.h"
#include "ringtron/kernels/cross_entropy/cross_entropy.h"
#include "ringtron/kernels/norm/norm.h"
#include "ringtron/kernels/qkv/qkv.h"
#include "ringtron/kernels/sum_of_squares/sum_of_squares.h"
#include "ringtron/optim/adam.h"
#include "ringtron/tools/profile/device_clock.h"
#include "ringtron/tools/take_flag.h"
#include "ringtron/train/run_as_rank.h"

namespace ringtron {
namespace {

struct Sizes {
  std::int64_t rows = 8192, hidden = 4096, ffn = 13696, heads = 32, vocab = 50304;
  int repeats = 20;
};

using Work = std::function<void()>;

class Table {
 public:
  explicit Table(const Sizes& z) : z_(z), options_(at::TensorOptions(at::kCUDA).dtype(at::kBFloat16)) {
    ahead_from_ = random({std::int64_t{1} << 29});
    ahead_to_ = at::empty_like(ahead_from_);
    copy_ = 2.0 * static_cast<double>(ahead_from_.nbytes()) / median([&] { ahead_to_.copy_(ahead_from_); });
    print_line("Copy of 1 GiB: {:.0f} GB/s\n", copy_ * 1e-9);
    print_line("| kernel | ms | GB/s | ÷ copy |");
    print_line("|---|---|---|---|");
  }

  at::Tensor random(std::vector<std::int64_t> sizes) const { return at::randn(sizes, options_); }
  at::Tensor fp32(std::int64_t elements) const { return at::rand({elements}, options_.dtype(at::kFloat)); }

  // `elements` of two bytes are moved at least.
  void row(const std::string& name, std::int64_t elements, const Work& work) const {
    const double seconds = median(work), bytes = 2.0 * static_cast<double>(elements);
    print_line("| {} | {:.3f} | {:.0f} | {:.2f} |", name, seconds * 1e3, bytes / seconds * 1e-9,
               bytes / seconds / copy_);
  }

  // Forward without a graph, and the backward of one that `forward` makes anew each time.
  void pair(const std::string& name, std::int64_t moved_forward, std::int64_t moved_backward,
            const std::function<std::vector<at::Tensor>()>& forward, const std::vector<at::Tensor>& inputs,
            const std::vector<at::Tensor>& gradients) const {
    row(name + ", forward", moved_forward, [&] {
      const at::NoGradGuard no_grad;
      forward();
    });
    row(
        name + ", backward", moved_backward, [&] { torch::autograd::grad(outputs_, inputs, gradients); },
        [&] { outputs_ = forward(); });
    outputs_.clear();
  }

 private:
  void row(const std::string& name, std::int64_t elements, const Work& work, const Work& before) const {
    const double seconds = median(work, before), bytes = 2.0 * static_cast<double>(elements);
    print_line("| {} | {:.3f} | {:.0f} | {:.2f} |", name, seconds * 1e3, bytes / seconds * 1e-9,
               bytes / seconds / copy_);
  }

  double median(const Work& work, const Work& before = [] {}) const {
    std::vector<double> times;
    for (int i = -3; i < z_.repeats; ++i) {
      before();
      // The host runs ahead of these copies, so that the device does not wait for it between the marks.
      for (int k = 0; k < 4; ++k) ahead_to_.copy_(ahead_from_);
      DeviceClock clock(at::kCUDA);
      clock.mark();
      work();
      clock.mark();
      const double seconds = clock.seconds().back();
      if (i >= 0) times.push_back(seconds);
    }
    std::ranges::nth_element(times, times.begin() + z_.repeats / 2);
    return times[static_cast<std::size_t>(z_.repeats / 2)];
  }

  Sizes z_;
  at::TensorOptions options_;
  at::Tensor ahead_from_, ahead_to_;
  double copy_ = 0.0;
  mutable std::vector<at::Tensor> outputs_;
};

at::Tensor leaf(const at::Tensor& x) { return x.detach().requires_grad_(); }

void norms(const Table& table, const Sizes& z) {
  const at::Tensor x = leaf(table.random({z.rows, 1, z.hidden})), branch = leaf(table.random({z.rows, 1, z.hidden}));
  const at::Tensor d_sum = at::randn_like(x), d_normed = at::randn_like(x);
  const std::int64_t stream = x.numel();
  for (const bool rms : {true, false}) {
    NormWeights norm{leaf(at::ones({z.hidden}, x.options().requires_grad(false))),
                     rms ? at::Tensor() : leaf(at::zeros({z.hidden}, x.options().requires_grad(false))), 1e-5, false,
                     rms};
    const std::string name = rms ? "RMSNorm" : "LayerNorm";
    table.pair(name, 2 * stream, 3 * stream, [&] { return std::vector{residual_norm(x, {}, norm).normed}; },
               {x, norm.weight}, {d_normed});
    table.pair("residual sum and " + name, 4 * stream, 4 * stream,
               [&] {
                 const ResidualNorm both = residual_norm(x, branch, norm);
                 return std::vector{both.sum, both.normed};
               },
               {x, branch, norm.weight}, {d_sum, d_normed});
    const DropoutRegion region{at::arange(z.rows, at::TensorOptions(at::kCUDA).dtype(at::kLong)),
                               at::zeros({1}, at::TensorOptions(at::kCUDA).dtype(at::kLong))};
    table.pair("dropout, residual sum and " + name, 4 * stream, 5 * stream,
               [&] {
                 const ResidualNorm both = residual_norm(x, branch, norm, {0.1, 7, region});
                 return std::vector{both.sum, both.normed};
               },
               {x, branch, norm.weight}, {d_sum, d_normed});
  }
}

void others(const Table& table, const Sizes& z) {
  for (const auto& [kind, name] : {std::pair{Activation::swiglu, "SwiGLU"},
                                   {Activation::gelu_tanh, "GELU"},
                                   {Activation::squared_relu, "squared ReLU"}}) {
    const std::int64_t width = kind == Activation::swiglu ? 2 * z.ffn : z.ffn;
    const at::Tensor x = leaf(table.random({z.rows, 1, width})), dy = table.random({z.rows, 1, z.ffn});
    table.pair(name, x.numel() + dy.numel(), 2 * x.numel() + dy.numel(), [&] { return std::vector{activate(x, kind)}; },
               {x}, {dy});
  }
  const std::int64_t size = z.hidden / z.heads;
  const at::Tensor qkv = leaf(table.random({z.rows, 1, 3 * z.hidden}));
  RotaryOptions rotary;
  rotary.head_dim = static_cast<int>(size);
  const RotaryTable angles = rotary_table(
      at::arange(z.rows, qkv.options().dtype(at::kLong).requires_grad(false)).unsqueeze(1), rotary, at::kFloat);
  const at::Tensor d_heads = table.random({z.rows, 1, z.heads, size});
  table.pair("split of qkv with rotary", 2 * qkv.numel(), 2 * qkv.numel(),
             [&] {
               const QkvHeads heads = split_qkv(qkv, z.heads, 1, angles, false);
               return std::vector{heads.q, heads.k, heads.v};
             },
             {qkv}, {d_heads, d_heads, d_heads});

  const at::Tensor logits = table.random({z.rows, 1, z.vocab});
  const at::Tensor targets = at::randint(z.vocab, {z.rows, 1}, logits.options().dtype(at::kLong));
  const VocabularyPart part{0, z.vocab};
  table.row("cross entropy, forward", logits.numel(), [&] { cross_entropy_statistics(logits, targets, part); });
  const at::Tensor log_sum = at::full({z.rows, 1}, 12.0, logits.options().dtype(at::kFloat)),
                   ones = at::ones_like(log_sum);
  table.row("cross entropy, gradient in place", 2 * logits.numel(),
            [&] { cross_entropy_gradient(logits, targets, part, log_sum, ones, /*in_place=*/true); });
}

void optimizer(const Table& table) {
  constexpr std::int64_t kElements = 500'000'000;
  const at::Tensor gradient = table.fp32(kElements);
  AdamTensors tensors{table.random({kElements}), gradient, table.fp32(kElements), table.fp32(kElements)};
  tensors.lower = at::zeros({kElements}, tensors.main.options().dtype(at::kShort));
  const at::Tensor scale = at::full({}, 0.5, gradient.options());
  table.row("AdamW of bf16 weights", 13 * kElements, [&] { adamw({&tensors, 1}, {}, {1e-4, 0.1, 10}, scale); });
  const std::vector<at::Tensor> gradients = {gradient};
  table.row("sum of squares", 2 * kElements, [&] { sum_of_squares_fused(gradients); });
}

Sizes sizes_in(std::vector<std::string> words) {
  Sizes z;
  const auto size = [&](const char* name, std::int64_t& value) {
    value = take_count(words, name).value_or(static_cast<int>(value));
  };
  size("--rows", z.rows);
  size("--hidden", z.hidden);
  size("--ffn", z.ffn);
  size("--heads", z.heads);
  size("--vocab", z.vocab);
  z.repeats = take_count(words, "--repeats").value_or(z.repeats);
  if (!words.empty()) {
    throw ConfigError(
        fmt::format("expected --rows, --hidden, --ffn, --heads, --vocab or --repeats, got '{}'", words[0]));
  }
  return z;
}

int measure(const Sizes& z) {
  if (c10::cuda::device_count() == 0) throw ConfigError("fused_kernels measures a GPU, and this machine has none");
  const Table table(z);
  norms(table, z);
  others(table, z);
  optimizer(table);
  return kExitOk;
}

}  // namespace
}  // namespace ringtron

int main(int argc, char** argv) {
  using namespace ringtron;
  return run_main("fused_kernels",
                  [&] { return run_as_rank([&](StopSignals&) { return measure(sizes_in(arguments(argc, argv))); }); });
}
