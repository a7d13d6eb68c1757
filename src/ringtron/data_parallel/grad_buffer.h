// One contiguous buffer for the gradients of all parameters, laid out by a BucketPlan.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/parameter/bucket_plan.h"
#include "ringtron/parameter/parameter.h"

namespace ringtron {

class GradBuffer {
 public:
  // Allocates zeros on the parameters' device and points each Parameter::gradient into them; the views keep
  // the memory alive. The type is fp64 if the parameters are, else fp32. InternalError if the parameters'
  // types or devices differ.
  GradBuffer(const ParameterList& parameters, BucketPlan plan);

  void zero();
  const BucketPlan& plan() const { return plan_; }
  at::Tensor bucket(int index) const;  // a flat view, padding included
  const at::Tensor& flat() const { return flat_; }

 private:
  BucketPlan plan_;
  at::Tensor flat_;
};

}  // namespace ringtron
