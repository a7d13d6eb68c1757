#include "ringtron/models/gpt.h"

#include <ATen/ATen.h>

#include "ringtron/base/check.h"

namespace ringtron {

GptModel::GptModel(const BuildContext& build, const ModelSpec& model, const MakeLayer& make)
    : GptModel(build, model, stages_of_rank(model.stages, build.parallel.pp_rank(), model.pipeline_ranks), make) {}

GptModel::GptModel(const BuildContext& build, const ModelSpec& model, std::span<const StageRange> chunks,
                   const MakeLayer& make) {
  for (const StageRange& range : chunks) chunks_.emplace_back(build, model, range, make);
}

TokenLosses GptModel::forward(const GptInput& input, const ForwardPass& pass, const at::Tensor& weights) const {
  RT_CHECK(chunks_.front().has_embedding() && chunks_.back().has_output(), "this rank has a part of the model");
  at::Tensor x;
  for (const Stage& stage : chunks_) x = stage.forward(x, input, pass);
  return chunks_.back().loss(x, input, weights);
}

}  // namespace ringtron
