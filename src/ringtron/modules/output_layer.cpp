#include "ringtron/modules/output_layer.h"

#include <ATen/ATen.h>

#include "ringtron/base/check.h"
#include "ringtron/modules/module_spec.h"
#include "ringtron/tensor_parallel/linear.h"

namespace ringtron {

OutputLayer::OutputLayer(const BuildContext& build, const OutputOptions& options, Parameter* tied)
    : OutputLayer(build, options, tied, build.store.add(parameters_of(options))) {}

OutputLayer::OutputLayer(const BuildContext& build, const OutputOptions& options, Parameter* tied,
                         const NamedParameters& parameters)
    : tensor_group_(build.tensor_group()),
      sequence_parallel_(options.sequence_parallel),
      norm_(options.norm, parameters, {"decoder.final_layernorm.weight", "decoder.final_layernorm.bias"}),
      weight_(options.tied ? tied : &parameters.at("output_layer.weight")),
      tied_(options.tied) {
  RT_CHECK(weight_ != nullptr,
           "a tied output layer stands in a stage without the word embedding whose weight it shares");
}

at::Tensor OutputLayer::forward(const at::Tensor& x) const {
  return column_parallel_linear({norm_.forward(x), norm_.again(x)}, LinearWeight(*weight_, tied_), at::Tensor(),
                                tensor_group_, sequence_parallel_);
}

}  // namespace ringtron
