// The end of a model: final norm and output layer, hidden states to logits.
#pragma once

#include "ringtron/modules/build_context.h"
#include "ringtron/modules/norm_layer.h"

namespace ringtron {

class OutputLayer {
 public:
  // Registers its parameters. `tied`: the word embedding's weight, where the options say that it is shared.
  OutputLayer(const BuildContext& build, const OutputOptions& options, Parameter* tied);

  // x: [s, b, h] in the sequence region. Returns logits [s_cp, b, V/tp] of this tensor rank's part of the
  // vocabulary.
  at::Tensor forward(const at::Tensor& x) const;

 private:
  OutputLayer(const BuildContext& build, const OutputOptions& options, Parameter* tied,
              const NamedParameters& parameters);

  Communicator& tensor_group_;
  bool sequence_parallel_;
  NormLayer norm_;
  Parameter* weight_;
  bool tied_;
};

}  // namespace ringtron
