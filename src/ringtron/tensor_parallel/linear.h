// Linear layers whose weight is divided over the tensor-parallel group.
//
// Column parallel divides the outputs, row parallel the inputs; used in that order around attention and MLP,
// one pair costs one collective forward and one backward. With sequence parallelism communication and products go in
// pieces, each hiding the other (collective_matmul.h); without it, the backward of a column-parallel layer sums dx
// while it computes the weight's gradient. That gradient goes straight into the fp32 sum of the parameter
// (Parameter::gradient); on a GPU the matrix product itself adds there, which saves the tensor between. All ranks of
// `group` call in the same order, forward and backward; it must outlive the graph. A failed collective throws
// CommError.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "ringtron/comm/communicator.h"
#include "ringtron/parameter/parameter.h"

namespace ringtron {

class WeightGradientQueue;  // weight_gradient_queue.h

// A weight, and the way its gradient takes.
struct LinearWeight {
  // Through autograd alone.
  LinearWeight(at::Tensor weight) : value(std::move(weight)) {}  // NOLINT: a tensor is a weight
  // Into the parameter's sum where a kernel can. `shared`: another operation uses the parameter earlier in the forward,
  // so its share comes later in the backward, through autograd, which then tells that the gradient is whole.
  explicit LinearWeight(Parameter& of, bool shared = false) : value(of.value), parameter(&of), is_shared(shared) {}
  // The same, but the backward leaves the product in `queue`, which outlives it, unless the product hides
  // communication: that of a column-parallel layer without sequence parallelism stays. Null: nothing is left.
  LinearWeight(Parameter& of, WeightGradientQueue* queue) : value(of.value), parameter(&of), later(queue) {}

  at::Tensor value;
  Parameter* parameter = nullptr;
  bool is_shared = false;
  WeightGradientQueue* later = nullptr;
};

// dW = dy^T x of one operation on a weight.
class WeightGradient {
 public:
  WeightGradient() = default;
  explicit WeightGradient(const LinearWeight& weight)
      : parameter_(weight.parameter != nullptr && weight.parameter->gradient_added ? weight.parameter : nullptr),
        tells_(!weight.is_shared),
        later_(parameter_ != nullptr ? weight.later : nullptr) {}

  // dy: [rows, out], x: [rows, in]. Into the parameter's sum, and returns nothing; or returns it, for autograd. More
  // than once for an operation in parts.
  at::Tensor add(const at::Tensor& dy, const at::Tensor& x) const;
  // After the last part: the parameter's gradient of this micro-batch is whole.
  void tell() const;
  // Where parts may be added after the backward; null: they may not. What autograd gets cannot wait.
  WeightGradientQueue* later() const { return later_; }

 private:
  Parameter* parameter_ = nullptr;
  bool tells_ = false;
  WeightGradientQueue* later_ = nullptr;
};

// What a layer multiplies, and how the backward gets it for the weight's gradient.
struct LinearInput {
  // Kept.
  LinearInput(at::Tensor x) : value(std::move(x)) {}  // NOLINT: a tensor is an input
  // Computed again, from tensors that others keep anyway, by a function without autograd that gives the same bits: for
  // what costs less to compute than to keep, such as the output of a norm or of an activation.
  LinearInput(at::Tensor x, std::function<at::Tensor()> compute_again)
      : value(std::move(x)), again(std::move(compute_again)) {}

  at::Tensor value;
  std::function<at::Tensor()> again;
};

// y = x W^T + b. weight: [out/tp, in]; bias: [out/tp] or undefined; y: [s, b, out/tp].
// x: [s, b, in], the same on all ranks; with `sequence_parallel` [s/tp, b, in], gathered here. Only the shard
// is kept for the backward, which gathers it again.
at::Tensor column_parallel_linear(const LinearInput& x, const LinearWeight& weight, const at::Tensor& bias,
                                  Communicator& group, bool sequence_parallel);

// y = x W^T summed over the group, then + b. x: [s, b, in/tp]; weight: [out, in/tp]; bias: [out], the same on
// all ranks, added after the sum, or undefined. y: [s, b, out]; with `sequence_parallel` [s/tp, b, out], and
// the bias gradient is that of the rank's own rows: the caller sums it over the group.
at::Tensor row_parallel_linear(const LinearInput& x, const LinearWeight& weight, const at::Tensor& bias,
                               Communicator& group, bool sequence_parallel);

}  // namespace ringtron
