// The gradient of a tensor whose parts go different ways. Whoever makes the gradient of a part writes it to where it
// lies in the gradient of the whole, which autograd would else put together by a copy of all of them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace ringtron {

class JoinedGradient {
 public:
  // Of a tensor of x's type and device, divided along its last dimension.
  JoinedGradient(const at::Tensor& x, std::vector<std::int64_t> sizes);

  // A view of the whole, without values. The whole has memory from the first part that is asked for until it is taken.
  at::Tensor part(std::size_t index);
  // The whole, of the gradients of its parts: without a copy of those that are what part() gave. Undefined ones are 0.
  at::Tensor take(const std::vector<at::Tensor>& gradients);

 private:
  at::Tensor view(const at::Tensor& whole, std::size_t index) const;

  std::vector<std::int64_t> whole_sizes_, sizes_, begins_;
  at::TensorOptions options_;
  at::Tensor whole_;
};

// Where a function writes the gradient of an input, if that is asked for in one pass of one thread. `of` null:
// anywhere.
struct GradientPlace {
  std::shared_ptr<JoinedGradient> of = nullptr;
  std::size_t part = 0;

  // Of the sizes of x, which is that part, its last dimension possibly divided: a view of the whole if the part's rows
  // begin there at multiples of `elements` elements, else a new tensor.
  at::Tensor like(const at::Tensor& x, std::int64_t elements) const;
};

struct SplitTensor {
  std::vector<at::Tensor> parts;      // views
  std::vector<GradientPlace> places;  // of each part
};

// x: [..., sum of sizes] by its last dimension, with autograd.
SplitTensor split_joined(const at::Tensor& x, const std::vector<std::int64_t>& sizes);

}  // namespace ringtron
