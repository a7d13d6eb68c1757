// A stage: a run of a model's layers, with or without the embedding before them and the output layer with the loss
// after them.
//
// One object is this rank's part of it under tensor, sequence and context parallelism. What passes from one
// stage to the next are hidden states.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "ringtron/config/pipeline/stage_split.h"
#include "ringtron/models/model_spec.h"
#include "ringtron/models/recompute_segments.h"
#include "ringtron/modules/build_context.h"
#include "ringtron/modules/embedding.h"
#include "ringtron/modules/layer.h"
#include "ringtron/modules/output_layer.h"

namespace ringtron {

// One micro-batch as this rank sees it, on the model's device.
struct GptInput {
  at::Tensor tokens;                         // int64 [b, s_cp]
  at::Tensor labels;                         // int64 [b, s_cp]
  at::Tensor position_ids;                   // int64 [b, s_cp]: what positional embeddings see
  at::Tensor positions;                      // int64 [s_cp]: place in the global sequence, in local order
  std::vector<std::int64_t> sample_numbers;  // [b]: number of each sample in the whole run
  // Layout and documents of the samples, the same on all ranks of the context group; null: those that the
  // attention was made with.
  std::shared_ptr<const SequenceShape> shape = nullptr;
};

// Which pass of the run a forward belongs to.
struct ForwardPass {
  std::uint64_t step = 0;
  bool training = true;  // false: no dropout
  // Where the backward leaves the weight gradients of linear layers, until run(); it outlives the graph. Null: it makes
  // them. Layers of a program's own may do either.
  WeightGradientQueue* later = nullptr;
};

// Registers the layer's parameters.
std::unique_ptr<Layer> make_layer(const BuildContext& build, const ModelSpec& model, const LayerSpec& layer);

// Makes the layers of a model; a program of one's own may give one that makes layers of its own kind. Called for each
// layer in order, the same on all ranks.
using MakeLayer =
    std::function<std::unique_ptr<Layer>(const BuildContext& build, const ModelSpec& model, const LayerSpec& layer)>;

class Stage {
 public:
  // Registers its parameters in the order of stage_parameters(), where `make` is the library's.
  Stage(const BuildContext& build, const ModelSpec& model, const StageRange& range, const MakeLayer& make = make_layer);

  // `hidden`: [s, b, h] in the sequence region, what the stage before returned; of a stage with the
  // embedding, which begins with input.tokens, it is not used. Returns hidden states. With recomputed activations the
  // stage must outlive the graph, which runs its layers again, so all ranks of the tensor and context groups go
  // backward together, as forward.
  at::Tensor forward(const at::Tensor& hidden, const GptInput& input, const ForwardPass& pass) const;

  bool has_embedding() const { return embedding_.has_value(); }
  bool has_output() const { return output_.has_value(); }
  // Of what passes between stages: [s, b, h] of this rank.
  std::vector<std::int64_t> hidden_shape(const GptInput& input) const;

  // Of a stage with the output layer, from what forward() returned: OutputLayer::loss().
  TokenLosses loss(const at::Tensor& hidden, const GptInput& input, const at::Tensor& weights) const;

 private:
  StepContext step_context(const GptInput& input, const ForwardPass& pass) const;
  // The parameters that `make` registers.
  template <class Make>
  ParameterList registered(Make make) const;
  at::Tensor through_layers(at::Tensor x, const std::shared_ptr<const StepContext>& context) const;

  const BuildContext build_;
  std::vector<LayerSpec> specs_;
  std::vector<RecomputeSegment> segments_;
  std::optional<RotaryOptions> rotary_;
  std::uint64_t seed_;
  std::int64_t hidden_;
  bool keeps_kv_, sequence_parallel_;
  bool scans_;  // has Mamba layers
  std::optional<Embedding> embedding_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::optional<OutputLayer> output_;
  // Of the embedding, of each layer and of the output layer, to be awaited before it runs. Embeddings that are tied
  // within a stage are the embedding's.
  ParameterList of_embedding_, of_output_;
  std::vector<ParameterList> of_layers_;
};

}  // namespace ringtron
