#include "benchmarks/context_parallel/accuracy.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "ringtron/comm/local_communicator.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/tools/faults/silent_communicator.h"

namespace ringtron::benchmark {
namespace {

// Relative to the norm of the whole tensor. bf16 has 8 bits; results of one rank's kernel are good to 2-3e-3.
constexpr double kTolerance16 = 1e-2;
constexpr double kTolerance32 = 1e-5;

struct Tensors {
  at::Tensor q, k, v, d_out;
};

struct Results {
  std::array<at::Tensor, 4> x;  // out, dq, dk, dv
};

// The same on every rank: drawn on the CPU from a seed.
Tensors whole_inputs(const LayerSetup& layer) {
  const AttentionShape& s = layer.shape;
  const std::int64_t rows = layer.layout().sequence_length();
  at::manual_seed(77);
  const auto draw = [&](std::int64_t heads, std::int64_t size) {
    return at::randn({rows, s.samples, heads, size}).to(layer.type).to(layer.device);
  };
  return {draw(s.heads, s.key_size), draw(s.groups, s.key_size), draw(s.groups, s.value_size),
          draw(s.heads, s.value_size)};
}

at::Tensor rows_of_rank(const at::Tensor& x, const SequenceLayout& layout, int rank) {
  std::vector<at::Tensor> rows = {x.narrow(0, 0, 0)};
  for (const PositionRange& range : layout.of(rank)) rows.push_back(x.narrow(0, range.begin, range.length()));
  return at::cat(rows, 0);
}

// Three times without waiting in between, the last of which counts: what a call leaves on the device must not be in
// another's way.
Results run(Communicator& group, const LayerSetup& layer, const Tensors& whole, CpAttentionOptions options = {}) {
  const auto mine = [&](const at::Tensor& x) {
    return rows_of_rank(x, layer.layout(), group.rank()).contiguous().detach().to(layer.type);
  };
  const at::Tensor q = mine(whole.q).set_requires_grad(true), k = mine(whole.k).set_requires_grad(true),
                   v = mine(whole.v).set_requires_grad(true);
  const at::Tensor d_out = mine(whole.d_out);
  const auto attention = make_cp_attention(group, layer.layout(), options);
  at::Tensor out;
  for (int time = 0; time < 3; ++time) {
    for (const at::Tensor& x : {q, k, v}) x.mutable_grad().reset();
    out = attention->forward(q, k, v, layer.call);
    out.backward(d_out);
  }
  return {{out.detach(), q.grad(), k.grad(), v.grad()}};
}

// |got - expected| / |expected| over all ranks' rows, for each of the four.
std::array<double, 4> errors(const Setting& setting, const LayerSetup& layer, const Results& got,
                             const Results& expected) {
  std::array<double, 4> relative{};
  for (std::size_t i = 0; i < 4; ++i) {
    const at::Tensor want = rows_of_rank(expected.x[i], layer.layout(), setting.group->rank()).to(at::kDouble);
    const at::Tensor sums =
        at::stack({(got.x[i].to(at::kDouble) - want).square().sum(), want.square().sum()}).contiguous();
    setting.group->all_reduce(sums).wait();
    const at::Tensor here = sums.cpu();
    relative[i] = std::sqrt(here[0].item<double>() / here[1].item<double>());
  }
  return relative;
}

}  // namespace

bool outputs_agree(const Setting& setting) {
  const int n = setting.group->size();
  // Not a multiple of anything.
  const std::int64_t length = (setting.device.is_cuda() ? 4096 : 96) * n + 5;
  const std::vector<std::int64_t> documents = {0, length / 7, length / 7 + 1, length / 2};
  const double tolerance = setting.type == at::kBFloat16 ? kTolerance16 : kTolerance32;
  LocalCommunicator alone("one rank", setting.environment.rank);
  CpAttentionOptions options = setting.attention_options();
  if (setting.options.silent)
    options.decorate = [](Communicator& group) { return std::make_unique<SilentCommunicator>(group); };
  bool agree = true;
  for (const Heads& heads : setting.options.heads) {
    for (const auto& starts : {std::vector<std::int64_t>{}, documents}) {
      LayerSetup layer = setting.layer(heads, length, CpLayout::zigzag, starts);
      const Tensors whole = whole_inputs(layer);
      const Results expected = run(alone, of_one_rank(layer), whole);
      for (const CpTransport transport : setting.transports()) {
        layer.call.transport = transport;
        const auto found = errors(setting, layer, run(*setting.group, layer, whole, options), expected);
        const double worst = *std::max_element(found.begin(), found.end());
        if (std::all_of(found.begin(), found.end(), [&](double e) { return e <= tolerance; })) continue;  // NaN is not
        agree = false;
        setting.say(fmt::format("{} with {} heads{}: differs from one rank by {:.1e}, at most {:.0e} allowed",
                                to_text(transport), heads.name(), starts.empty() ? "" : " and documents", worst,
                                tolerance));
      }
    }
  }
  return agree;
}

void print_errors(const Setting& setting) {
  const bool gpu = setting.device.is_cuda();
  const Heads heads = gpu ? Heads{8, 8, 128} : Heads{2, 2, 64};
  const std::int64_t length = gpu ? 8192 : 512;
  LayerSetup layer = setting.layer(heads, length);
  layer.type = at::kBFloat16;
  layer.shape.element_bytes = 2;
  const Tensors whole = whole_inputs(layer);
  LocalCommunicator alone("one rank", setting.environment.rank);
  LayerSetup exact = of_one_rank(layer);
  exact.type = at::kFloat;
  const Results reference = run(alone, exact, whole);  // of the same bf16 inputs
  setting.say(
      fmt::format("\n### Relative error in bf16 against fp32, {} tokens in all, {} heads\n", length, heads.name()));
  setting.say("| | out | dq | dk | dv |\n|---|---|---|---|---|");
  const auto print_row = [&](const std::string& name, const Results& got, const LayerSetup& of) {
    const auto e = errors(setting, of, got, reference);
    setting.say(fmt::format("| {} | {:.2e} | {:.2e} | {:.2e} | {:.2e} |", name, e[0], e[1], e[2], e[3]));
  };
  // One rank's whole result, cut to this rank's rows.
  const Results one = run(alone, of_one_rank(layer), whole);
  Results mine;
  for (std::size_t i = 0; i < 4; ++i) mine.x[i] = rows_of_rank(one.x[i], layer.layout(), setting.group->rank());
  print_row("one rank", mine, layer);
  for (const CpTransport transport : setting.transports()) {
    layer.call.transport = transport;
    print_row(std::string(to_text(transport)), run(*setting.group, layer, whole, setting.attention_options()), layer);
  }
}

}  // namespace ringtron::benchmark
