#include "ringtron/kernels/dropout/dropout.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

#include "ringtron/base/check.h"
#include "ringtron/base/random.h"
#include "ringtron/kernels/device/current_stream.h"
#include "ringtron/kernels/dropout/dropout_params.h"

namespace ringtron {
namespace {

DropoutType type_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kDouble:
      return DropoutType::f64;
    case at::kFloat:
      return DropoutType::f32;
    case at::kHalf:
      return DropoutType::f16;
    case at::kBFloat16:
      return DropoutType::bf16;
    default:
      break;
  }
  RT_CHECK(false, "dropout: expected fp64, fp32, fp16 or bf16, got {}", c10::toString(x.scalar_type()));
}

at::Tensor run(const at::Tensor& input, double p, std::uint64_t key, const at::Tensor& positions,
               const at::Tensor& samples) {
  const at::Tensor x = input.contiguous();
  RT_CHECK_EQ(x.dim(), 3, "dropout: dimensions of x [s, b, h]");
  RT_CHECK_EQ(positions.numel(), x.size(0), "dropout: positions for the rows of x");
  RT_CHECK_EQ(samples.numel(), x.size(1), "dropout: sample numbers for the batch of x");
  RT_CHECK(positions.device() == x.device() && samples.device() == x.device(),
           "dropout: positions on {} and sample numbers on {}, expected both on {} like x", positions.device().str(),
           samples.device().str(), x.device().str());
  at::Tensor y = at::empty_like(x);
  DropoutParams params{};
  params.x = x.const_data_ptr();
  params.y = y.mutable_data_ptr();
  params.positions = positions.const_data_ptr<std::int64_t>();
  params.samples = samples.const_data_ptr<std::int64_t>();
  params.rows = x.size(0);
  params.batch = x.size(1);
  params.width = x.size(2);
  params.key = key;
  params.threshold = static_cast<std::uint32_t>(std::ldexp(p, 32));
  params.scale = 1.0 / (1.0 - p);
  if (x.is_cuda()) {
    dropout_cuda(params, type_of(x), current_cuda_stream());
    return y;
  }
  RT_CHECK(x.is_cpu(), "dropout: no kernel for this device in this build");
  dropout_cpu(params, type_of(x));
  return y;
}

class Dropout : public torch::autograd::Function<Dropout> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, double p, std::int64_t key,
                            const at::Tensor& positions, const at::Tensor& samples) {
    context->save_for_backward({positions, samples});
    context->saved_data["p"] = p;
    context->saved_data["key"] = key;
    return run(x, p, static_cast<std::uint64_t>(key), positions, samples);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto key = static_cast<std::uint64_t>(context->saved_data["key"].toInt());
    return {run(grads[0], context->saved_data["p"].toDouble(), key, saved[0], saved[1]), {}, {}, {}, {}};
  }
};

}  // namespace

at::Tensor dropout(const at::Tensor& x, double p, std::uint64_t key, const DropoutRegion& region) {
  if (p == 0.0) return x;
  RT_CHECK(p > 0.0 && p < 1.0, "dropout: probability {} is not in [0, 1)", p);
  // The kernels read both as plain arrays; a caller may well hold a slice with strides.
  return Dropout::apply(x, p, static_cast<std::int64_t>(key), region.positions.contiguous(),
                        region.sample_numbers.contiguous());
}

std::uint64_t random_key(std::uint64_t seed, std::uint64_t step, std::uint64_t layer, std::uint64_t place) {
  RT_CHECK(place < 256, "random_key: expected a place below 256, got {}", place);
  const PhiloxBlock block = philox4x32(seed, step, (layer << 8) | place);
  return (static_cast<std::uint64_t>(block.v[0]) << 32) | block.v[1];
}

}  // namespace ringtron
