#include "ringtron/modules/embedding.h"

#include <ATen/ATen.h>

#include "ringtron/kernels/embedding/embedding.h"
#include "ringtron/modules/module_spec.h"
#include "ringtron/tensor_parallel/mappings.h"
#include "ringtron/tensor_parallel/vocab_parallel_embedding.h"

namespace ringtron {

Embedding::Embedding(const BuildContext& build, const EmbeddingOptions& options)
    : tensor_group_(build.tensor_group()), options_(options) {
  const NamedParameters parameters = build.store.add(parameters_of(options)).within("embedding.");
  word_weight_ = &parameters.at("word_embeddings.weight");
  position_weight_ = parameters.find("position_embeddings.weight");
}

at::Tensor Embedding::forward(const at::Tensor& tokens, const at::Tensor& position_ids, const StepContext& step) const {
  const bool sp = options_.sequence_parallel;
  at::Tensor x =
      vocab_parallel_embedding(tokens, LinearWeight(*word_weight_), tensor_group_, sp && position_weight_ == nullptr);
  if (position_weight_ != nullptr) {
    x = x + embedding_lookup(position_weight_->value, position_ids.t().contiguous());
    if (sp) x = scatter_to_sequence_region(x, tensor_group_);
  }
  const double p = step.training ? options_.dropout : 0.0;
  return dropout(x, p, step.key(0, DropoutPlace::embedding), step.region);
}

}  // namespace ringtron
