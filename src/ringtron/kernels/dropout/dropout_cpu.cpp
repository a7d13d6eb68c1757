// The truth for dropout: plain loops over global elements.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "ringtron/base/random.h"
#include "ringtron/kernels/dropout/dropout_params.h"

namespace ringtron {
namespace {

// Wide is what T is multiplied in, so that 16 bits round once and its scale is not 1.109 for 1/0.9.
template <class T, class Wide = T>
void run(const DropoutParams& p) {
  const T* x = static_cast<const T*>(p.x);
  T* y = static_cast<T*>(p.y);
  const Wide scale = static_cast<Wide>(p.scale);
  at::parallel_for(0, p.rows * p.batch, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t line = begin; line < end; ++line) {
      const std::uint64_t stream = static_cast<std::uint64_t>(p.samples[line % p.batch]);
      const std::uint64_t first = static_cast<std::uint64_t>(p.positions[line / p.batch] * p.width);
      PhiloxBlock block{};
      for (std::int64_t i = 0; i < p.width; ++i) {
        const std::uint64_t index = first + static_cast<std::uint64_t>(i);
        if (i == 0 || (index & 3) == 0) block = philox4x32(p.key, stream, index >> 2);
        const bool keep = block.v[index & 3] >= p.threshold;
        y[line * p.width + i] = keep ? static_cast<T>(static_cast<Wide>(x[line * p.width + i]) * scale) : T(0);
      }
    }
  });
}

}  // namespace

void dropout_cpu(const DropoutParams& params, DropoutType type) {
  switch (type) {
    case DropoutType::f64:
      return run<double>(params);
    case DropoutType::f32:
      return run<float>(params);
    case DropoutType::f16:
      return run<c10::Half, float>(params);
    case DropoutType::bf16:
      return run<c10::BFloat16, float>(params);
  }
}

}  // namespace ringtron
