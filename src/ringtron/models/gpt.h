// GPT: embedding, transformer layers, final norm, output layer, cross entropy.
//
// One object is this rank's part of the model under tensor, sequence and context parallelism.
#pragma once

#include <memory>
#include <vector>

#include "ringtron/models/layer_pieces.h"
#include "ringtron/modules/build_context.h"
#include "ringtron/modules/embedding.h"
#include "ringtron/modules/norm_layer.h"
#include "ringtron/modules/transformer_layer.h"

namespace ringtron {

// One micro-batch as this rank sees it, on the model's device.
struct GptInput {
  at::Tensor tokens;        // int64 [b, s_cp]
  at::Tensor labels;        // int64 [b, s_cp]
  at::Tensor position_ids;  // int64 [b, s_cp]: what positional embeddings see
  at::Tensor positions;     // int64 [s_cp]: place in the global sequence, in local order
  std::vector<std::int64_t> sample_numbers;  // [b]: number of each sample in the whole run
  // Layout and documents of the samples, the same on all ranks of the context group; null: those that the attention was
  // made with.
  std::shared_ptr<const SequenceShape> shape = nullptr;
};

class GptModel {
 public:
  explicit GptModel(const BuildContext& build);

  // The loss of each token, [s_cp, b], fp32 (fp64 in fp64), the same on all ranks of the tensor group. Backward through
  // its sum gives this rank's share of the gradients, to be summed over each parameter's gradient_axes. With recomputed activations the model
  // must outlive the graph, which runs its layers again, so all ranks of the tensor and context groups go backward
  // together, as forward.
  at::Tensor forward(const GptInput& input, std::uint64_t step, bool training) const;

 private:
  StepContext step_context(const GptInput& input, std::uint64_t step, bool training) const;
  at::Tensor through_layers(at::Tensor x, const std::shared_ptr<const StepContext>& context) const;

  const BuildContext build_;
  Embedding embedding_;
  std::vector<std::unique_ptr<TransformerLayer>> layers_;
  std::vector<LayerPiece> pieces_;
  std::unique_ptr<NormLayer> final_norm_;
  const Parameter* output_weight_;  // the word embedding's when tied
};

}  // namespace ringtron
