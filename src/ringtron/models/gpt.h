// GPT: the stages of the model that this rank has, its chunks.
#pragma once

#include <span>
#include <vector>

#include "ringtron/models/stage.h"

namespace ringtron {

class GptModel {
 public:
  // The stages that this rank of the pipeline has.
  GptModel(const BuildContext& build, const ModelSpec& model, const MakeLayer& make = make_layer);
  // Other ones, in order.
  GptModel(const BuildContext& build, const ModelSpec& model, std::span<const StageRange> chunks,
           const MakeLayer& make = make_layer);

  int chunks() const { return static_cast<int>(chunks_.size()); }
  const Stage& chunk(int number) const { return chunks_[static_cast<std::size_t>(number)]; }

  // All chunks and the loss, one after the other; of a rank that has the whole model. Backward from the weighted sum
  // gives this rank's share of the gradients, to be summed over each parameter's gradient_axes. weights: [s_cp, b]
  TokenLosses forward(const GptInput& input, const ForwardPass& pass, const at::Tensor& weights) const;

 private:
  std::vector<Stage> chunks_;
};

}  // namespace ringtron
