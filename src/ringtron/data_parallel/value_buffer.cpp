// Moves values. See value_buffer.h.
#include "ringtron/data_parallel/value_buffer.h"

#include <ATen/ATen.h>

#include "ringtron/base/check.h"

namespace ringtron {

ValueBuffer::ValueBuffer(const ParameterList& parameters, const BucketPlan& plan) {
  RT_CHECK_EQ(plan.offsets.size(), parameters.size(), "parameters of the bucket plan");
  if (parameters.empty()) return;
  const at::NoGradGuard no_grad;
  const at::Tensor& first = parameters.front()->value;
  flat_ = at::zeros({plan.elements}, at::TensorOptions().dtype(first.scalar_type()).device(first.device()));
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor& value = parameters[i]->value;
    RT_CHECK(value.scalar_type() == first.scalar_type() && value.device() == first.device(),
             "value buffer: expected {} of the type and on the device of {}", parameters[i]->name,
             parameters.front()->name);
    const at::Tensor place = flat_.narrow(0, plan.offsets[i], value.numel()).view(value.sizes());
    place.copy_(value);
    value.set_data(place);
  }
}

at::Tensor ValueBuffer::bucket(const Bucket& bucket) const {
  return flat_.narrow(0, bucket.begin, bucket.end - bucket.begin);
}

}  // namespace ringtron
