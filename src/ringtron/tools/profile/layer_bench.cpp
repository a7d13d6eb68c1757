#include "ringtron/tools/profile/layer_bench.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/tools/profile/device_clock.h"
#include "ringtron/train/cuda_runtime.h"

namespace ringtron {
namespace {

std::vector<double> of_slowest_rank(Communicator& group, const std::vector<double>& mine, at::Device device) {
  const at::Tensor times = at::tensor(mine, at::kDouble).to(device);
  group.all_reduce(times, ReduceOp::max).wait();
  const at::Tensor most = times.cpu();
  const double* data = most.const_data_ptr<double>();
  return {data, data + most.numel()};
}

// Runs `prepare` untimed and `work` timed, once for each repeat.
template <class Prepare, class Work>
std::vector<double> timed(Communicator& group, at::Device device, const Repeats& repeats, Prepare prepare, Work work) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats.warmup; ++i) {
    work(prepare());
    if (repeats.on_done) repeats.on_done(i + 1);
  }
  group.barrier();
  synchronize(device);
  // On a GPU the marks go into the stream, and the host runs ahead of them: nothing idles between repeats. A
  // CPU has no stream, so ranks meet before each repeat, or the slowest one's delay would be counted as
  // another's exchange.
  DeviceClock clock(device);
  int told = 0;
  const auto tell = [&](int wait_for) {  // two marks each; 0: the host goes on at once
    if (!repeats.on_done) return;
    const int done = static_cast<int>(clock.passed(2 * static_cast<std::size_t>(wait_for)) / 2);
    if (done > told) repeats.on_done(repeats.warmup + done);
    told = done;
  };
  for (int i = 0; i < repeats.repeats; ++i) {
    const auto inputs = prepare();
    if (device.is_cpu()) group.barrier();
    clock.mark();
    work(inputs);
    clock.mark();
    tell(0);
  }
  while (repeats.on_done && told < repeats.repeats) tell(told + 1);
  const std::vector<double> at = clock.seconds();
  for (std::size_t i = 0; i + 1 < at.size(); i += 2) seconds.push_back(at[i + 1] - at[i]);
  return of_slowest_rank(group, seconds, device);
}

std::vector<std::int64_t> starts_before(const std::vector<std::int64_t>& starts, std::int64_t end) {
  std::vector<std::int64_t> kept;
  for (const std::int64_t start : starts) {
    if (start < end) kept.push_back(start);
  }
  return kept;
}

LayerSetup prefix_of(const LayerSetup& layer, std::int64_t rows) {
  SequenceShape shape{contiguous_layout(rows, 1), {}};
  for (const auto& starts : layer.call.shape->document_starts)
    shape.document_starts.push_back(starts_before(starts, rows));
  LayerSetup prefix = layer;
  prefix.call.shape = std::make_shared<const SequenceShape>(std::move(shape));
  prefix.call.transport = CpTransport::p2p;
  return prefix;
}

}  // namespace

std::vector<AttentionMask> LayerSetup::masks() const {
  std::vector<AttentionMask> masks;
  const std::int64_t length = layout().sequence_length();
  for (const auto& starts : call.shape->document_starts) masks.emplace_back(length, call.causal, call.window, starts);
  if (masks.empty()) masks.emplace_back(length, call.causal, call.window);
  return masks;
}

double LayerSetup::cells() const {
  double area = 0;
  const std::vector<AttentionMask> all = masks();
  for (const AttentionMask& mask : all) area += static_cast<double>(mask.area());
  const double samples = all.size() == 1 ? static_cast<double>(shape.samples) : 1.0;
  return area * samples * static_cast<double>(shape.heads);
}

LayerSetup equal_work_of_one_rank(const LayerSetup& layer) {
  const double wanted = layer.cells() / layer.layout().ranks();
  std::int64_t low = 1, high = layer.layout().sequence_length();
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (prefix_of(layer, middle).cells() >= wanted) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  // Kernels work in tiles of 128 rows; an odd length would measure the tile that is not full.
  const std::int64_t tile = 128;
  if (low > 4 * tile) low = std::min((low + tile / 2) / tile * tile, layer.layout().sequence_length());
  return prefix_of(layer, low);
}

LayerBench::LayerBench(Communicator& group, const LayerSetup& layer, const CpAttentionOptions& options)
    : group_(group), layer_(layer), attention_(make_cp_attention(group, layer.layout(), options)) {}

LayerBench::Inputs LayerBench::fresh_inputs() const {
  const AttentionShape& s = layer_.shape;
  const std::int64_t rows = layer_.layout().local_length(group_.rank());
  const at::TensorOptions options = at::TensorOptions(layer_.device).dtype(layer_.type);
  return {at::randn({rows, s.samples, s.heads, s.key_size}, options).set_requires_grad(true),
          at::randn({rows, s.samples, s.groups, s.key_size}, options).set_requires_grad(true),
          at::randn({rows, s.samples, s.groups, s.value_size}, options).set_requires_grad(true),
          at::randn({rows, s.samples, s.heads, s.value_size}, options)};
}

at::Tensor LayerBench::forward(const Inputs& inputs) {
  return attention_->forward(inputs.q, inputs.k, inputs.v, layer_.call);
}

std::vector<double> LayerBench::time_steps(const Repeats& repeats) {
  return timed(
      group_, layer_.device, repeats, [&] { return fresh_inputs(); },
      [&](const Inputs& inputs) { forward(inputs).backward(inputs.d_out); });
}

std::vector<double> LayerBench::time_forward(const Repeats& repeats) {
  const at::NoGradGuard no_grad;
  return timed(
      group_, layer_.device, repeats, [&] { return fresh_inputs(); }, [&](const Inputs& inputs) { forward(inputs); });
}

void LayerBench::run_once(Passes& passes) {
  const Inputs inputs = fresh_inputs();
  synchronize(layer_.device);
  group_.barrier();
  passes.begin_forward();
  const at::Tensor out = forward(inputs);
  passes.begin_backward();
  out.backward(inputs.d_out);
  synchronize(layer_.device);
}

std::int64_t LayerBench::count_bytes() {
  attention_->proof().reset();
  const Inputs inputs = fresh_inputs();
  forward(inputs).backward(inputs.d_out);
  synchronize(layer_.device);
  return attention_->proof().layer(layer_.call.layer).done.bytes;
}

std::vector<double> time_transfers(Communicator& group, const std::vector<SizedExchange>& transfers, at::Device device,
                                   const Repeats& repeats) {
  struct Buffers {
    std::vector<Send> sends;
    std::vector<Receive> receives;
  };
  const auto bytes = at::TensorOptions(device).dtype(at::kByte);
  std::vector<Buffers> exchanges;
  for (const SizedExchange& transfer : transfers) {
    Buffers& buffers = exchanges.emplace_back();
    for (const SizedMessage& m : transfer.sends) buffers.sends.push_back({m.peer, at::zeros({m.bytes}, bytes)});
    for (const SizedMessage& m : transfer.receives) buffers.receives.push_back({m.peer, at::zeros({m.bytes}, bytes)});
  }
  if (exchanges.empty()) return {0.0};
  return timed(
      group, device, repeats, [] { return 0; },
      [&](int) {
        for (Buffers& buffers : exchanges) group.exchange(buffers.sends, buffers.receives).wait();
      });
}

std::vector<std::int64_t> gather_numbers(Communicator& group, std::int64_t number, at::Device device) {
  const auto longs = at::TensorOptions(device).dtype(at::kLong);
  const at::Tensor mine = at::full({1}, number, longs), all = at::zeros({group.size()}, longs);
  group.all_gather(mine, all).wait();
  const at::Tensor here = all.cpu();
  const auto* data = here.const_data_ptr<std::int64_t>();
  return {data, data + here.numel()};
}

}  // namespace ringtron
