// The end of a model: final norm, output layer and loss, hidden states to the loss of each token.
#pragma once

#include "ringtron/modules/build_context.h"
#include "ringtron/modules/norm_layer.h"
#include "ringtron/tensor_parallel/linear_cross_entropy.h"

namespace ringtron {

class OutputLayer {
 public:
  // Registers its parameters. `tied`: the word embedding's weight, where it stands in the same stage and the options
  // say that it is shared.
  OutputLayer(const BuildContext& build, const OutputOptions& options, Parameter* tied);

  // x: [s, b, h] in the sequence region; labels: int64 [b, s_cp]; weights: [s_cp, b], of the tokens in the sum. See
  // linear_cross_entropy. Collective over the tensor group.
  TokenLosses loss(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& weights) const;

 private:
  OutputLayer(const BuildContext& build, const OutputOptions& options, Parameter* tied,
              const NamedParameters& parameters);

  Communicator& tensor_group_;
  bool sequence_parallel_;
  std::int64_t vocabulary_;
  NormLayer norm_;
  Parameter* weight_;
  bool shared_;  // with the embedding of this stage
};

}  // namespace ringtron
