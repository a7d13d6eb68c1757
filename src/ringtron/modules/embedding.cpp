#include "ringtron/modules/embedding.h"

#include <ATen/ATen.h>

#include "ringtron/kernels/embedding/embedding.h"
#include "ringtron/tensor_parallel/mappings.h"
#include "ringtron/tensor_parallel/vocab_parallel_embedding.h"

namespace ringtron {

Embedding::Embedding(const BuildContext& build) : build_(build) {
  const ModelConfig& m = build.config.model;
  const Initial initial = build.weight_initial(build.config.precision.init_method_std);
  const std::int64_t h = m.hidden_size;
  word_weight_ =
      &build.store.add("embedding.word_embeddings.weight", ShardSpec{{m.padded_vocab_size, h}, 0}, initial,
                       build.vocab_size);
  if (m.position_embedding_type == PositionEmbedding::learned_absolute) {
    position_weight_ =
        &build.store.add("embedding.position_embeddings.weight", ShardSpec{{m.max_position_embeddings, h}}, initial);
  }
}

at::Tensor Embedding::forward(const at::Tensor& tokens, const at::Tensor& position_ids,
                              const StepContext& step) const {
  const bool sp = build_.sequence_parallel();
  Communicator& group = build_.tensor_group();
  at::Tensor x = vocab_parallel_embedding(tokens, word_weight_->value, group, sp && position_weight_ == nullptr);
  if (position_weight_ != nullptr) {
    x = x + embedding_lookup(position_weight_->value, position_ids.t().contiguous());
    if (sp) x = scatter_to_sequence_region(x, group);
  }
  const double p = step.training ? build_.config.precision.hidden_dropout : 0.0;
  return dropout(x, p, step.key(0, DropoutPlace::embedding), step.region);
}

}  // namespace ringtron
