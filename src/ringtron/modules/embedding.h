// Word embedding, learned positions where asked for, embedding dropout.
#pragma once

#include "ringtron/modules/build_context.h"
#include "ringtron/modules/layer_options.h"
#include "ringtron/modules/step_context.h"

namespace ringtron {

class Embedding {
 public:
  // Registers its parameters.
  Embedding(const BuildContext& build, const EmbeddingOptions& options);

  // tokens, position_ids: int64 [b, s_cp]. Returns [s, b, h] in the sequence region.
  at::Tensor forward(const at::Tensor& tokens, const at::Tensor& position_ids, const StepContext& step) const;

  // For an output layer that shares it: [V/tp, h].
  Parameter& word_weight() const { return *word_weight_; }

 private:
  Communicator& tensor_group_;
  EmbeddingOptions options_;
  Parameter* word_weight_;
  const Parameter* position_weight_;
};

}  // namespace ringtron
