// A layer of a model: hidden states in, hidden states out.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/modules/step_context.h"

namespace ringtron {

// What a kind of layer has and costs is declared in module_spec.h; make_layer() (models/stage.h) makes one of
// any kind.
class Layer {
 public:
  virtual ~Layer() = default;

  // x: [s, b, h] in the sequence region; the result too. A pure function of x, the parameters and `step`:
  // recomputation calls it twice. All ranks of the tensor and context groups call it for the same layers in
  // the same order.
  virtual at::Tensor forward(const at::Tensor& x, const StepContext& step) const = 0;
};

}  // namespace ringtron
