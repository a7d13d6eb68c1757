// Initial weights: runs of global elements, drawn in parallel. See initialize.h.
#include "ringtron/parameter/initialize.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/random.h"

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

// Elements 2 * pair and 2 * pair + 1, for the price of one: bit-equal to random_normal() of both.
struct NormalPair {
  double scale;
  std::pair<double, double> operator()(Stream s, std::uint64_t pair) const {
    const PhiloxBlock block = philox4x32(s.key, s.stream, pair);
    const double u1 = uniform_open(block.v[0], block.v[1]);
    const double u2 = uniform_open(block.v[2], block.v[3]);
    const double radius = std::sqrt(-2.0 * std::log(u1));
    const double angle = 6.283185307179586476925286766559 * u2;
    return {scale * (radius * std::cos(angle)), scale * (radius * std::sin(angle))};
  }
};

struct UniformPair {
  double bound;
  std::pair<double, double> operator()(Stream s, std::uint64_t pair) const {
    const PhiloxBlock block = philox4x32(s.key, s.stream, pair);
    return {bound * (2.0 * uniform_open(block.v[0], block.v[1]) - 1.0),
            bound * (2.0 * uniform_open(block.v[2], block.v[3]) - 1.0)};
  }
};

// out[0, length) = elements [global, global + length).
template <class T, class Draw>
void fill_run(T* out, std::int64_t global, std::int64_t length, Stream stream, const Draw& draw) {
  const std::int64_t end = global + length;
  std::int64_t i = global;
  if (i < end && (i & 1) != 0) *out++ = static_cast<T>(draw(stream, i++ >> 1).second);
  for (; i + 1 < end; i += 2) {
    const auto [first, second] = draw(stream, i >> 1);
    *out++ = static_cast<T>(first);
    *out++ = static_cast<T>(second);
  }
  if (i < end) *out = static_cast<T>(draw(stream, i >> 1).first);
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
