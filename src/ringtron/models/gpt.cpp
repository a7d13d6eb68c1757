#include "ringtron/models/gpt.h"

#include <ATen/ATen.h>

namespace ringtron {
namespace {

StageRange whole(const ModelSpec& model) { return {0, static_cast<int>(model.layers.size()), true, true}; }

}  // namespace

GptModel::GptModel(const BuildContext& build, const ModelSpec& model, const MakeLayer& make)
    : GptModel(build, model, std::vector<StageRange>{whole(model)}, make) {}

GptModel::GptModel(const BuildContext& build, const ModelSpec& model, std::span<const StageRange> chunks,
                   const MakeLayer& make) {
  for (const StageRange& range : chunks) chunks_.emplace_back(build, model, range, make);
}

TokenLosses GptModel::forward(const GptInput& input, const ForwardPass& pass, const at::Tensor& weights) const {
  at::Tensor x;
  for (const Stage& stage : chunks_) x = stage.forward(x, input, pass);
  return chunks_.back().loss(x, input, weights);
}

}  // namespace ringtron
