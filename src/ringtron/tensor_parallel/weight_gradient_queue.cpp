#include "ringtron/tensor_parallel/weight_gradient_queue.h"

#include <ATen/ATen.h>

#include <utility>

namespace ringtron {

void WeightGradientQueue::run() {
  const at::NoGradGuard no_grad;
  for (std::function<void()>& product : std::exchange(products_, {})) std::exchange(product, nullptr)();
}

}  // namespace ringtron
