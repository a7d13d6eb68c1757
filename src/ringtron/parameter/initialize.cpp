// Initial weights: runs of global elements, drawn in parallel. See initialize.h.
#include "ringtron/parameter/initialize.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/hash.h"
#include "ringtron/kernels/device/current_stream.h"
#include "ringtron/kernels/device/element.h"
#include "ringtron/kernels/initial_weights/draws.h"
#include "ringtron/kernels/initial_weights/initial_weights_params.h"

namespace ringtron {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements for one thread, at least
// Elements drawn before they are copied to where they belong. Memory of this size comes back from the allocator without
// being given to the kernel and faulted in again, which for whole weights took as long as drawing them.
constexpr std::int64_t kAtOnce = 1 << 21;

struct Stream {
  std::uint64_t key;
  std::uint64_t stream;
};

// SplitMix64's finaliser: neighbouring seeds give unrelated keys.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// A Mamba layer's, on the host only: heads are few.
struct TimeStepPair {
  static double one(double u) {
    const double low = std::log(0.001), high = std::log(0.1);
    const double step = std::max(std::exp(low + u * (high - low)), 1e-4);
    return step + std::log(-std::expm1(-step));  // the inverse of softplus
  }
  TwoDraws operator()(std::uint64_t key, std::uint64_t stream, std::uint64_t pair) const {
    const PhiloxBlock block = philox4x32(key, stream, pair);
    return {one(uniform_open(block.v[0], block.v[1])), one(uniform_open(block.v[2], block.v[3]))};
  }
};

struct LogUniformPair {
  TwoDraws operator()(std::uint64_t key, std::uint64_t stream, std::uint64_t pair) const {
    const PhiloxBlock block = philox4x32(key, stream, pair);
    return {std::log(1.0 + 15.0 * uniform_open(block.v[0], block.v[1])),
            std::log(1.0 + 15.0 * uniform_open(block.v[2], block.v[3]))};
  }
};

// out[0, length) = elements [global, global + length).
template <class T, class Draw>
void fill_run(T* out, std::int64_t global, std::int64_t length, Stream stream, const Draw& draw) {
  const std::int64_t end = global + length;
  std::int64_t i = global;
  if (i < end && (i & 1) != 0) *out++ = static_cast<T>(draw(stream.key, stream.stream, i++ >> 1).second);
  for (; i + 1 < end; i += 2) {
    const auto [first, second] = draw(stream.key, stream.stream, i >> 1);
    *out++ = static_cast<T>(first);
    *out++ = static_cast<T>(second);
  }
  if (i < end) *out = static_cast<T>(draw(stream.key, stream.stream, i >> 1).first);
}

// out[0, count) = elements [first, first + count) of those that this rank has, one after the other.
template <class T, class Draw>
void fill_local(T* out, const std::vector<ShardSlice>& runs, std::int64_t first, std::int64_t count, Stream stream,
                const Draw& draw) {
  at::parallel_for(first, first + count, kGrain, [&](std::int64_t begin, std::int64_t end) {
    auto run = std::upper_bound(runs.begin(), runs.end(), begin,
                                [](std::int64_t i, const ShardSlice& r) { return i < r.local_offset; }) -
               1;
    for (std::int64_t i = begin; i < end; ++run) {
      const std::int64_t within = i - run->local_offset;
      const std::int64_t length = std::min(run->length - within, end - i);
      fill_run(out + (i - first), run->global_offset + within, length, stream, draw);
      i += length;
    }
  });
}

// On the parameter's own device. False: this element type is not for the kernel.
bool fill_on_gpu(const at::Tensor& values, const std::vector<ShardSlice>& runs, Stream stream, bool uniform,
                 double scale) {
  InitialWeightsParams params{};
  if (values.scalar_type() == at::kDouble) {
    params.wide = values.data_ptr<double>();
  } else if (const auto type = element_of(values)) {
    params.type = *type;
    params.out = values.mutable_data_ptr();
  } else {
    return false;
  }
  std::vector<std::int64_t> starts;
  for (const ShardSlice& run : runs) {
    starts.push_back(run.local_offset);
    starts.push_back(run.global_offset);
  }
  static_assert(sizeof(ElementRun) == 2 * sizeof(std::int64_t));
  const at::Tensor on_device = at::tensor(starts, at::kLong).to(values.device());
  params.runs = reinterpret_cast<const ElementRun*>(on_device.const_data_ptr<std::int64_t>());
  params.run_count = static_cast<int>(runs.size());
  params.elements = values.numel();
  params.key = stream.key;
  params.stream = stream.stream;
  params.uniform = uniform;
  params.scale = scale;
  initial_weights_cuda(params, current_cuda_stream());
  return true;
}

double scale_of(const NormalPair& draw) { return draw.scale; }
double scale_of(const UniformPair& draw) { return draw.bound; }

template <class Draw>
void fill(Parameter& parameter, std::uint64_t seed, std::pair<int, int> tp_rank_of_size, const Draw& draw) {
  const auto [tp_rank, tp_size] = tp_rank_of_size;
  const std::vector<std::int64_t> shape = parameter.shard.local_shape(tp_size);
  RT_CHECK(parameter.value.sizes() == at::IntArrayRef(shape),
           "initial weights of {}: expected the local shape [{}], got [{}] (tensor rank {} of {})", parameter.name,
           fmt::join(shape, ", "), fmt::join(parameter.value.sizes().vec(), ", "), tp_rank, tp_size);
  const std::int64_t count = parameter.value.numel();
  if (count == 0) return;
  const Stream stream{mix(seed), hash64(parameter.name)};
  const std::vector<ShardSlice> runs = parameter.shard.element_runs(tp_rank, tp_size);
  const bool wide = parameter.value.scalar_type() == at::kDouble;
  const at::NoGradGuard no_grad;
  const at::Tensor values = parameter.value.view(-1);
  constexpr bool uniform = std::is_same_v<Draw, UniformPair>;
  if constexpr (uniform || std::is_same_v<Draw, NormalPair>) {
    if (values.is_cuda() && fill_on_gpu(values, runs, stream, uniform, scale_of(draw))) return;
  }
  const at::Tensor host =
      at::empty({std::min(count, kAtOnce)}, at::TensorOptions().dtype(wide ? at::kDouble : at::kFloat));
  for (std::int64_t first = 0; first < count; first += kAtOnce) {
    const std::int64_t some = std::min(kAtOnce, count - first);
    if (wide)
      fill_local(host.data_ptr<double>(), runs, first, some, stream, draw);
    else
      fill_local(host.data_ptr<float>(), runs, first, some, stream, draw);
    values.narrow(0, first, some).copy_(host.narrow(0, 0, some));
  }
}

}  // namespace

void fill_normal(Parameter& parameter, std::uint64_t seed, double std, int tp_rank, int tp_size) {
  fill(parameter, seed, {tp_rank, tp_size}, NormalPair{std});
}

void fill_xavier_uniform(Parameter& parameter, std::uint64_t seed, int tp_rank, int tp_size) {
  const auto& shape = parameter.shard.global_shape;
  RT_CHECK(shape.size() == 2, "Xavier initialisation of {}: expected 2 dims, got {}", parameter.name, shape.size());
  fill(parameter, seed, {tp_rank, tp_size}, UniformPair{std::sqrt(6.0 / static_cast<double>(shape[0] + shape[1]))});
}

void fill_uniform(Parameter& parameter, std::uint64_t seed, double bound, int tp_rank, int tp_size) {
  fill(parameter, seed, {tp_rank, tp_size}, UniformPair{bound});
}

void fill_time_step(Parameter& parameter, std::uint64_t seed, int tp_rank, int tp_size) {
  fill(parameter, seed, {tp_rank, tp_size}, TimeStepPair{});
}

void fill_log_uniform(Parameter& parameter, std::uint64_t seed, int tp_rank, int tp_size) {
  fill(parameter, seed, {tp_rank, tp_size}, LogUniformPair{});
}

void fill_constant(Parameter& parameter, double value) {
  const at::NoGradGuard no_grad;
  parameter.value.fill_(value);
}

void zero_padding(const Parameter& parameter, const at::Tensor& tensor) {
  if (parameter.local_padding_rows == 0) return;
  const at::NoGradGuard no_grad;
  tensor.narrow(0, tensor.size(0) - parameter.local_padding_rows, parameter.local_padding_rows).zero_();
}

}  // namespace ringtron
