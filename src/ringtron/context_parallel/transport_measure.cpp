#include "ringtron/context_parallel/transport_measure.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "ringtron/base/clock.h"
#include "ringtron/context_parallel/block/block_attention.h"

namespace ringtron {
namespace {

constexpr double kDropoutMeasured = 0.1;  // any share takes the same time
constexpr int kRepeats = 3;               // after one that does not count; the least time does

// Reading one element waits for all that the device was asked to do.
void wait_for(const at::Tensor& result) { result.flatten()[0].item(); }

// Seconds of run(), which returns a tensor that is ready when the work is done.
template <class Run>
double least_seconds(Run run) {
  wait_for(run());
  double least = INFINITY;
  for (int i = 0; i < kRepeats; ++i) {
    const auto start = SteadyClock::now();
    wait_for(run());
    least = std::min(least, seconds_since(start));
  }
  return std::max(least, 1e-9);
}

double ring_seconds(Communicator& group, std::int64_t bytes, at::Device device) {
  const at::Tensor out = at::zeros({bytes}, at::TensorOptions(device).dtype(at::kByte));
  const at::Tensor in = at::empty_like(out);
  const int n = group.size(), rank = group.rank();
  const std::vector<Send> sends = {{(rank + 1) % n, out}};
  const std::vector<Receive> receives = {{(rank + n - 1) % n, in}};
  return least_seconds([&] {
    group.exchange(sends, receives).wait();
    return in;
  });
}

// Small whole numbers divided: no random state is touched, and a softmax of them is not one-hot.
at::Tensor some_values(at::IntArrayRef sizes, const at::TensorOptions& options) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return at::arange(count, options.dtype(at::kFloat)).remainder(13).div(13.0).sub(0.5).to(options.dtype()).view(sizes);
}

// One document of all rows, where a run's documents are computed as tiles; null where they are not.
std::shared_ptr<const VarlenBatch> measured_tile(const AttentionUse& use, const Band& band,
                                                 const VarlenAttention* tiles, std::int64_t rows) {
  if (!use.documents || use.dropout || !band.is_causal() || tiles == nullptr) return nullptr;
  auto batch = std::make_shared<VarlenBatch>();
  batch->causal = true;
  batch->tiles = {{kAllSamples, {0, rows}, {0, rows}}};
  return batch;
}

}  // namespace

DeviceSpeeds default_speeds(at::Device device) {
  return device.is_cuda() ? default_gpu_speeds() : default_cpu_speeds();
}

LinkSpeed measure_link(Communicator& group, at::Device device) {
  LinkSpeed link = default_speeds(device).link;
  if (group.size() == 1) return link;
  const std::int64_t small = device.is_cuda() ? 4 << 20 : 64 << 10, large = device.is_cuda() ? 64 << 20 : 4 << 20;
  const double small_seconds = ring_seconds(group, small, device), large_seconds = ring_seconds(group, large, device);
  // Where noise makes the small message the slower one, all of the large one's time is its bytes'.
  const double per_byte = large_seconds > small_seconds
                              ? (large_seconds - small_seconds) / static_cast<double>(large - small)
                              : large_seconds / static_cast<double>(large);
  link.bytes_per_second = 1.0 / per_byte;
  link.seconds_per_exchange = std::max(1e-6, small_seconds - static_cast<double>(small) * per_byte);
  return link;
}

Band measured_band(const AttentionUse& use, std::int64_t rows) {
  Band band = Band::causal();
  // A window at least as wide as the block would leave a causal square, for which there are other kernels.
  if (use.window.left >= 0 && use.window.left < use.sequence_length - 1)
    band.left = std::min(use.window.left, rows / 2);
  return band;
}

AttentionSpeed measure_attention(const AttentionShape& shape, const AttentionUse& use, at::ScalarType type,
                                 at::Device device) {
  AttentionSpeed speed = default_speeds(device).attention;
  const double backward_ratio = speed.backward_flops_per_second / speed.forward_flops_per_second;
  const std::int64_t rows = device.is_cuda() ? 4096 : 256;
  // Whole groups of heads, few of them on a CPU.
  const std::int64_t groups = device.is_cuda() ? shape.groups : std::min<std::int64_t>(shape.groups, 2);
  const std::int64_t heads = groups * (shape.heads / shape.groups);
  const at::TensorOptions options = at::TensorOptions(device).dtype(type);
  const at::Tensor q = some_values({rows, 1, heads, shape.key_size}, options);
  const at::Tensor k = some_values({rows, 1, groups, shape.key_size}, options);
  const at::Tensor v = some_values({rows, 1, groups, shape.value_size}, options);
  const auto block = make_block_attention(device.type(), type, use.dropout);
  const AttentionDropout dropout{.p = kDropoutMeasured, .sample_numbers = {0}};
  const PositionRange positions[] = {{0, rows}};
  BlockCall call;
  call.scale = 1.0 / std::sqrt(static_cast<double>(shape.key_size));
  call.band = measured_band(use, rows);
  call.varied_shapes = use.documents;
  if (use.dropout) {
    call.dropout = &dropout;
    call.q_positions = call.kv_positions = positions;
  }
  const at::NoGradGuard no_grad;
  auto tile = measured_tile(use, call.band, block->varlen(), rows);
  if (tile && !block->varlen()->supports(q, k, v, Pass::forward)) tile = nullptr;
  speed.varlen = tile != nullptr;
  const double attend = least_seconds([&] {
    return tile ? block->varlen()->forward(q, k, v, tile, call.scale).out : block->forward(q, k, v, call).out;
  });
  const double cells = static_cast<double>(call.band.area(rows, rows) * heads);
  speed.forward_flops_per_second =
      forward_flops(cells, shape) / std::max(attend - speed.seconds_per_block, 0.5 * attend);
  speed.backward_flops_per_second = backward_ratio * speed.forward_flops_per_second;

  const std::int64_t bytes = device.is_cuda() ? 256 << 20 : 8 << 20;
  const at::Tensor from = at::zeros({bytes}, options.dtype(at::kByte)), to = at::empty_like(from);
  const double copy = least_seconds([&] { return to.copy_(from); });
  speed.copy_bytes_per_second = 2.0 * static_cast<double>(bytes) / copy;
  return speed;
}

DeviceSpeeds measure_speeds(Communicator& group, const AttentionShape& shape, const AttentionUse& use,
                            at::ScalarType type, at::Device device) {
  const DeviceSpeeds expected = default_speeds(device);
  DeviceSpeeds speeds{measure_link(group, device), measure_attention(shape, use, type, device), expected.host};
  double* const numbers[] = {&speeds.link.bytes_per_second,
                             &speeds.link.seconds_per_exchange,
                             &speeds.link.hidden_share,
                             &speeds.attention.forward_flops_per_second,
                             &speeds.attention.backward_flops_per_second,
                             &speeds.attention.seconds_per_block,
                             &speeds.attention.copy_bytes_per_second};
  std::vector<double> values;
  for (const double* number : numbers) values.push_back(*number);
  const at::Tensor shared = at::tensor(values, at::kDouble).to(device);
  group.broadcast(shared, 0).wait();
  const at::Tensor here = shared.cpu();
  for (std::size_t i = 0; i < std::size(numbers); ++i) *numbers[i] = here.const_data_ptr<double>()[i];
  return speeds;
}

}  // namespace ringtron
