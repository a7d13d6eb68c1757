// mamba_kernels: speed of a Mamba-2 layer's convolution and scan on one GPU, in bf16.
//
//   build/cuda/benchmarks/mamba_kernels [--heads 128] [--groups 8] [--head-dim 64] [--state-dim 128] [--repeats 20]
//   [--tokens 8192,16384,32768,65536] [--composed-up-to 16384]
//
// Prints markdown: times on the device (minimum, median, maximum), bytes that must be moved over the median, and of the
// scan the operations of a chunked scan with chunks of 128 over it, backward counted as two forwards, which is how
// peers count. Lines below the whole scan say what its parts take. "Composed" is the same scan by single operations.
// benchmarks/torch_mamba_kernels.py times mamba_ssm's Triton kernels on the same shapes.
#include <ATen/ATen.h>
#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/config/parse.h"
#include "ringtron/kernels/causal_conv/causal_conv.h"
#include "ringtron/kernels/ssd_scan/ssd_scan.h"
#include "ringtron/tools/profile/device_clock.h"
#include "ringtron/tools/take_flag.h"
#include "ringtron/train/run_as_rank.h"

namespace ringtron {
namespace {

struct Sizes {
  std::int64_t heads = 128, groups = 8, size = 64, states = 128, composed_up_to = 16384;
  std::vector<std::int64_t> tokens = {8192, 16384, 32768, 65536};
  int repeats = 20;
};

using Work = std::function<void()>;

class Table {
 public:
  explicit Table(int repeats) : repeats_(repeats) {
    ahead_from_ = at::zeros({std::int64_t{1} << 28}, at::TensorOptions(at::kCUDA).dtype(at::kBFloat16));
    ahead_to_ = at::empty_like(ahead_from_);
    print_line("| tokens | kernel | ms: min | median | max | GB/s | TFLOP/s |");
    print_line("|---|---|---|---|---|---|---|");
  }

  // `bytes` and `operations` at least; operations 0: none are counted. `before`: not timed.
  void row(
      std::int64_t tokens, const std::string& name, double bytes, double operations, const Work& work,
      const Work& before = [] {}) const {
    std::vector<double> times;
    for (int i = -3; i < repeats_; ++i) {
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
    std::ranges::sort(times);
    const double median = times[times.size() / 2];
    print_line("| {} | {} | {:.3f} | {:.3f} | {:.3f} | {:.0f} | {} |", tokens, name, times.front() * 1e3, median * 1e3,
               times.back() * 1e3, bytes / median * 1e-9,
               operations == 0 ? "" : fmt::format("{:.0f}", operations / median * 1e-12));
  }

 private:
  int repeats_;
  at::Tensor ahead_from_, ahead_to_;
};

at::Tensor random(std::vector<std::int64_t> sizes) {
  return at::randn(sizes, at::TensorOptions(at::kCUDA).dtype(at::kBFloat16));
}

at::Tensor leaf(const at::Tensor& x) { return x.detach().requires_grad_(); }

double bytes_of(const std::vector<at::Tensor>& tensors) {
  double sum = 0.0;
  for (const at::Tensor& x : tensors) sum += static_cast<double>(x.numel()) * static_cast<double>(x.element_size());
  return sum;
}

void convolution(const Table& table, const Sizes& z, std::int64_t tokens) {
  const std::int64_t channels = z.heads * z.size + 2 * z.groups * z.states;
  const at::Tensor x = leaf(random({tokens, 1, channels})), weight = leaf(random({channels, 1, 4})),
                   bias = leaf(random({channels})), halo = leaf(random({0, 3, channels})),
                   dy = random({tokens, 1, channels});
  const auto segments = std::make_shared<const ScanSegments>(ScanSegments::whole(tokens, 1));
  table.row(tokens, "convolution, forward", bytes_of({x, dy}), 0, [&] {
    const at::NoGradGuard no_grad;
    causal_conv(x, weight, bias, halo, segments);
  });
  at::Tensor y;
  table.row(
      tokens, "convolution, backward", bytes_of({x, x, dy}), 0,
      [&] { torch::autograd::grad({y}, {x, weight, bias}, {dy}); },
      [&] { y = causal_conv(x, weight, bias, halo, segments); });
}

SsdInputs scan_inputs(const Sizes& z, std::int64_t tokens) {
  const at::TensorOptions fp32 = at::TensorOptions(at::kCUDA).dtype(at::kFloat);
  // Time steps of 0.001 to 0.1 and decays of 1 to 16, as layers begin with.
  return {leaf(random({tokens, 1, z.heads, z.size})),
          leaf(random({tokens, 1, z.heads}) - 4),
          leaf(random({tokens, 1, z.groups, z.states})),
          leaf(random({tokens, 1, z.groups, z.states})),
          leaf(-at::rand({z.heads}, fp32) * 15 - 1),
          leaf(at::ones({z.heads}, fp32)),
          leaf(at::zeros({z.heads}, fp32))};
}

void scan(const Table& table, const std::string& name, const Sizes& z, const SsdInputs& in, bool parts) {
  const std::int64_t tokens = in.x.size(0);
  const at::Tensor dy = random(in.x.sizes().vec());
  const auto segments = std::make_shared<const ScanSegments>(ScanSegments::whole(tokens, 1));
  constexpr std::int64_t kChunk = 128;
  const double of_head = 2.0 * static_cast<double>(z.size * (kChunk + 2 * z.states)),
               of_group = 2.0 * static_cast<double>(kChunk * z.states),
               forward = static_cast<double>(tokens) *
                         (of_head * static_cast<double>(z.heads) + of_group * static_cast<double>(z.groups));
  const double once = bytes_of({in.x, in.dt, in.B, in.C});
  const std::vector<at::Tensor> leaves = {in.x, in.dt, in.B, in.C, in.a, in.d, in.dt_bias};
  table.row(tokens, name + ", forward", once + bytes_of({in.x}), forward, [&] {
    const at::NoGradGuard no_grad;
    ssd_scan(in, segments, {});
  });
  at::Tensor y;
  table.row(
      tokens, name + ", backward", 2 * once + bytes_of({in.x}), 2 * forward,
      [&] { torch::autograd::grad({y}, leaves, {dy}); }, [&] { y = ssd_scan(in, segments, {}); });
  table.row(tokens, name + ", both", 3 * once + 2 * bytes_of({in.x}), 3 * forward,
            [&] { torch::autograd::grad({ssd_scan(in, segments, {})}, leaves, {dy}); });
  if (!parts) return;
  // A segment that goes on elsewhere and comes from there: the halves of what context ranks do.
  const at::NoGradGuard no_grad;
  const ScanSegments piece(tokens, 1, {{0, 0, tokens, 0, 0}});
  table.row(tokens, "of a piece: final states", bytes_of({in.x, in.dt, in.B}), 0, [&] { ssd_states(in, piece, {}); });
  const at::Tensor passed = at::randn({1, z.heads, z.size, z.states}, in.x.options().dtype(at::kFloat));
  table.row(tokens, "of a piece: outputs too", once + bytes_of({in.x}), 0,
            [&] { ssd_outputs(in, piece, {}, ssd_states(in, piece, {}), passed); });
  table.row(tokens, "of a piece: both states", bytes_of({in.x, dy, in.dt, in.B, in.C}), 0,
            [&] { ssd_backward_states(in, piece, {}, dy); });
  table.row(tokens, "of a piece: gradients too", 2 * once + bytes_of({in.x}), 0,
            [&] { ssd_gradients(in, piece, {}, passed, dy, ssd_backward_states(in, piece, {}, dy), passed); });
}

Sizes sizes_in(std::vector<std::string> words) {
  Sizes z;
  const auto size = [&](const char* name, std::int64_t& value) {
    value = take_count(words, name).value_or(static_cast<int>(value));
  };
  size("--heads", z.heads);
  size("--groups", z.groups);
  size("--head-dim", z.size);
  size("--state-dim", z.states);
  size("--composed-up-to", z.composed_up_to);
  z.repeats = take_count(words, "--repeats").value_or(z.repeats);
  if (const auto list = take_flag(words, "--tokens")) {
    z.tokens.clear();
    std::stringstream rest(*list);
    for (std::string number; std::getline(rest, number, ',');) {
      std::vector<std::string> one = {"--tokens", number};
      z.tokens.push_back(*take_count(one, "--tokens"));
    }
  }
  if (!words.empty()) {
    throw ConfigError(fmt::format(
        "expected --heads, --groups, --head-dim, --state-dim, --tokens, --composed-up-to or --repeats, got '{}'",
        words[0]));
  }
  return z;
}

int measure(const Sizes& z) {
  if (c10::cuda::device_count() == 0) throw ConfigError("mamba_kernels measures a GPU, and this machine has none");
  const Table table(z.repeats);
  for (const std::int64_t tokens : z.tokens) {
    convolution(table, z, tokens);
    SsdInputs in = scan_inputs(z, tokens);
    scan(table, "scan", z, in, /*parts=*/true);
    in.dt = leaf(in.dt.to(at::kFloat));  // types that differ go the composed way
    if (tokens <= z.composed_up_to) scan(table, "scan, composed", z, in, /*parts=*/false);
  }
  return kExitOk;
}

}  // namespace
}  // namespace ringtron

int main(int argc, char** argv) {
  using namespace ringtron;
  return run_main("mamba_kernels",
                  [&] { return run_as_rank([&](StopSignals&) { return measure(sizes_in(arguments(argc, argv))); }); });
}
