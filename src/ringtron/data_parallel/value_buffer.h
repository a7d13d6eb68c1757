// One contiguous buffer for the values of all parameters, laid out by a BucketPlan: what the owner of a range of a
// bucket has changed goes to the other ranks in one message.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/parameter/bucket_plan.h"
#include "ringtron/parameter/parameter.h"

namespace ringtron {

class ValueBuffer {
 public:
  // Moves the values of the parameters, which are of one type and on one device, into the buffer: each Parameter::value
  // stays the tensor that it is and has its memory there from then on; the views keep that alive. Zeros between them.
  ValueBuffer(const ParameterList& parameters, const BucketPlan& plan);

  at::Tensor bucket(const Bucket& bucket) const;  // of that plan: a flat view, padding included

 private:
  at::Tensor flat_;
};

}  // namespace ringtron
