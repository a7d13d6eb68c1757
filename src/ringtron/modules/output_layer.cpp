#include "ringtron/modules/output_layer.h"

#include <ATen/ATen.h>

#include "ringtron/base/check.h"
#include "ringtron/modules/module_spec.h"

namespace ringtron {

OutputLayer::OutputLayer(const BuildContext& build, const OutputOptions& options, Parameter* tied)
    : OutputLayer(build, options, tied, build.store.add(parameters_of(options))) {}

OutputLayer::OutputLayer(const BuildContext& build, const OutputOptions& options, Parameter* tied,
                         const NamedParameters& parameters)
    : tensor_group_(build.tensor_group()),
      sequence_parallel_(options.sequence_parallel),
      vocabulary_(options.vocabulary),
      norm_(options.norm, parameters, {options.norm_name + ".weight", options.norm_name + ".bias"}),
      weight_(!options.tied        ? &parameters.at("output_layer.weight")
              : options.holds_copy ? &parameters.at("embedding.word_embeddings.weight")
                                   : tied),
      shared_(options.tied && !options.holds_copy) {
  RT_CHECK(weight_ != nullptr,
           "a tied output layer stands in a stage without the word embedding whose weight it shares");
}

TokenLosses OutputLayer::loss(const at::Tensor& x, const at::Tensor& labels, const at::Tensor& weights) const {
  return linear_cross_entropy(norm_.forward(x), LinearWeight(*weight_, shared_), labels.t().contiguous(), weights,
                              vocabulary_, tensor_group_, sequence_parallel_, kMostLogitBytes);
}

}  // namespace ringtron
