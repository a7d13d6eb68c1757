// Allocation and views. See grad_buffer.h.
#include "ringtron/data_parallel/grad_buffer.h"

#include <ATen/ATen.h>

#include "ringtron/base/check.h"

namespace ringtron {

GradBuffer::GradBuffer(const ParameterList& parameters, BucketPlan plan) : plan_(std::move(plan)) {
  RT_CHECK_EQ(plan_.offsets.size(), parameters.size(), "parameters of the bucket plan");
  auto options = at::TensorOptions().dtype(at::kFloat);
  if (!parameters.empty()) {
    const at::Tensor& first = parameters.front()->value;
    options = options.device(first.device());
    if (first.scalar_type() == at::kDouble) options = options.dtype(at::kDouble);
    for (const Parameter* parameter : parameters)
      RT_CHECK(parameter->value.scalar_type() == first.scalar_type() && parameter->value.device() == first.device(),
               "gradient buffer: expected {} of the type and on the device of {}", parameter->name,
               parameters.front()->name);
  }
  flat_ = at::zeros({plan_.elements}, options);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& value = parameters[i]->value;
    parameters[i]->gradient = flat_.narrow(0, plan_.offsets[i], value.numel()).view(value.sizes());
  }
}

void GradBuffer::zero() { flat_.zero_(); }

at::Tensor GradBuffer::bucket(int index) const {
  const Bucket& bucket = plan_.buckets.at(index);
  return flat_.narrow(0, bucket.begin, bucket.end - bucket.begin);
}

}  // namespace ringtron
