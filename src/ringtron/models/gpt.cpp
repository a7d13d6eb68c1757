#include "ringtron/models/gpt.h"

#include <ATen/ATen.h>

#include "ringtron/modules/attention_config.h"
#include "ringtron/modules/recompute.h"
#include "ringtron/tensor_parallel/linear.h"
#include "ringtron/tensor_parallel/vocab_parallel_cross_entropy.h"

namespace ringtron {

GptModel::GptModel(const BuildContext& build)
    : build_(build), embedding_(build), pieces_(layer_pieces(build.config.recompute, build.config.model.num_layers)) {
  const ModelConfig& m = build.config.model;
  for (int i = 0; i < m.num_layers; ++i) layers_.push_back(std::make_unique<TransformerLayer>(build, i));
  final_norm_ = std::make_unique<NormLayer>(
      build, NormLayer::Names{"decoder.final_layernorm.weight", "decoder.final_layernorm.bias"}, m.hidden_size,
      build.sequence_parallel());
  output_weight_ = &embedding_.word_weight();
  if (m.untie_embeddings_and_output_weights) {
    output_weight_ = &build.store.add("output_layer.weight", ShardSpec{{m.padded_vocab_size, m.hidden_size}, 0},
                                      build.weight_initial(build.config.precision.init_method_std), build.vocab_size);
  }
}

StepContext GptModel::step_context(const GptInput& input, std::uint64_t step, bool training) const {
  const ModelConfig& m = build_.config.model;
  StepContext context;
  context.training = training;
  context.seed = static_cast<std::uint64_t>(build_.config.precision.seed);
  context.step = step;
  context.sample_numbers = input.sample_numbers;
  context.shape = input.shape;
  at::Tensor rows = input.positions;
  if (build_.sequence_parallel()) {
    const std::int64_t share = rows.size(0) / build_.tensor_group().size();
    rows = rows.narrow(0, share * build_.tensor_group().rank(), share);
  }
  context.region.positions = rows.contiguous();
  context.region.sample_numbers = at::tensor(input.sample_numbers, at::kLong).to(rows.device());
  if (m.position_embedding_type == PositionEmbedding::rope) {
    const auto type = build_.store.options().type == at::kDouble ? at::kDouble : at::kFloat;
    context.rotary = rotary_table(input.position_ids.t(), rotary_options(m), type);
  }
  if (build_.config.recompute.cp_keep_kv && at::GradMode::is_enabled()) {
    for (const LayerPiece& piece : pieces_) {
      for (int i = 0; i < piece.count; ++i) {
        context.saved_kv.push_back(piece.recomputes_attention ? std::make_shared<SavedKv>() : nullptr);
      }
    }
  }
  return context;
}

// The context is shared with the graph: what is run again in backward needs it then.
at::Tensor GptModel::through_layers(at::Tensor x, const std::shared_ptr<const StepContext>& context) const {
  for (const LayerPiece& piece : pieces_) {
    const auto run = [this, piece, context](std::span<const at::Tensor> inputs) {
      at::Tensor hidden = inputs[0];
      for (int i = piece.first; i < piece.first + piece.count; ++i) {
        hidden = layers_[static_cast<std::size_t>(i)]->forward(hidden, *context);
      }
      return hidden;
    };
    x = piece.recomputed ? recomputed(run, {x}) : run({&x, 1});
  }
  return x;
}

at::Tensor GptModel::forward(const GptInput& input, std::uint64_t step, bool training) const {
  const auto context = std::make_shared<const StepContext>(step_context(input, step, training));
  at::Tensor x = through_layers(embedding_.forward(input.tokens, input.position_ids, *context), context);
  x = final_norm_->forward(x);
  const at::Tensor logits = column_parallel_linear(x, output_weight_->value, at::Tensor(), build_.tensor_group(),
                                                   build_.sequence_parallel());
  return vocab_parallel_cross_entropy(logits, input.labels.t().contiguous(), build_.vocab_size,
                                      build_.tensor_group());
}

}  // namespace ringtron
