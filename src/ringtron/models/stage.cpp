#include "ringtron/models/stage.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "ringtron/base/check.h"
#include "ringtron/kernels/device/device_table.h"
#include "ringtron/modules/hybrid_layers.h"
#include "ringtron/modules/mamba_layer.h"
#include "ringtron/modules/recompute.h"
#include "ringtron/modules/transformer_layer.h"

namespace ringtron {

std::unique_ptr<Layer> make_layer(const BuildContext& build, const ModelSpec& model, const LayerSpec& layer) {
  switch (layer.kind) {
    case LayerKind::transformer:
      return std::make_unique<TransformerLayer>(build, model.transformer, layer);
    case LayerKind::attention:
      return std::make_unique<AttentionLayer>(build, model.transformer, layer);
    case LayerKind::mlp:
      return std::make_unique<MlpLayer>(build, model.transformer, layer);
    case LayerKind::mamba:
      return std::make_unique<MambaLayer>(build, model.mamba, layer);
  }
  RT_CHECK(false, "layer {} is of an unknown kind", layer.number);
}

Stage::Stage(const BuildContext& build, const ModelSpec& model, const StageRange& range, const MakeLayer& make)
    : build_(build),
      specs_(model.layers.begin() + range.first, model.layers.begin() + range.first + range.count),
      segments_(recompute_segments(specs_)),
      rotary_(model.rotary),
      seed_(model.seed),
      hidden_(model.embedding.hidden),
      keeps_kv_(model.keeps_kv),
      sequence_parallel_(model.embedding.sequence_parallel),
      scans_(std::ranges::count(specs_, LayerKind::mamba, &LayerSpec::kind) > 0) {
  if (range.embedding) of_embedding_ = registered([&] { embedding_.emplace(build, model.embedding); });
  for (const LayerSpec& layer : specs_)
    of_layers_.push_back(registered([&] { layers_.push_back(make(build, model, layer)); }));
  if (range.output)
    of_output_ =
        registered([&] { output_.emplace(build, model.output, embedding_ ? &embedding_->word_weight() : nullptr); });
}

template <class Make>
ParameterList Stage::registered(Make make) const {
  const auto before = static_cast<std::ptrdiff_t>(build_.store.all().size());
  make();
  const ParameterList all = build_.store.all();
  return {all.begin() + before, all.end()};
}

StepContext Stage::step_context(const GptInput& input, const ForwardPass& pass) const {
  StepContext context;
  context.training = pass.training;
  context.seed = seed_;
  context.step = pass.step;
  context.later = pass.later;
  context.sample_numbers = input.sample_numbers;
  context.shape = input.shape;
  at::Tensor rows = input.positions;
  const std::int64_t rows_of_context = rows.size(0);
  if (sequence_parallel_) {
    const std::int64_t share = rows.size(0) / build_.tensor_group().size();
    rows = rows.narrow(0, share * build_.tensor_group().rank(), share);
  }
  context.region.positions = rows.contiguous();
  context.region.sample_numbers = index_table(input.sample_numbers, rows.device());
  if (rotary_) {
    const auto type = build_.store.options().type == at::kDouble ? at::kDouble : at::kFloat;
    context.rotary = rotary_table(input.position_ids.t(), *rotary_, type);
  }
  if (scans_) {
    const SequenceShape one{contiguous_layout(rows_of_context, 1)};
    RT_CHECK(input.shape || build_.parallel.context().size() == 1, "a scan over several ranks wants their layout");
    context.scan =
        make_scan_shape(input.shape ? *input.shape : one, input.tokens.size(0), build_.parallel.context().rank());
  }
  if (keeps_kv_ && at::GradMode::is_enabled()) {
    for (const LayerSpec& layer : specs_) {
      if (layer.recompute != LayerRecompute::none) context.saved_kv[layer.number] = std::make_shared<SavedKv>();
    }
  }
  return context;
}

// The context is shared with the graph: what is run again in backward needs it then.
at::Tensor Stage::through_layers(at::Tensor x, const std::shared_ptr<const StepContext>& context) const {
  for (const RecomputeSegment& segment : segments_) {
    const auto run = [this, segment, context](std::span<const at::Tensor> inputs) {
      at::Tensor hidden = inputs[0];
      for (int i = segment.first; i < segment.first + segment.count; ++i) {
        const auto layer = static_cast<std::size_t>(i);
        await_values(of_layers_[layer]);
        hidden = layers_[layer]->forward(hidden, *context);
      }
      return hidden;
    };
    x = segment.recomputed ? recomputed(run, {x}) : run({&x, 1});
  }
  return x;
}

at::Tensor Stage::forward(const at::Tensor& hidden, const GptInput& input, const ForwardPass& pass) const {
  const auto context = std::make_shared<const StepContext>(step_context(input, pass));
  await_values(of_embedding_);
  return through_layers(embedding_ ? embedding_->forward(input.tokens, input.position_ids, *context) : hidden, context);
}

std::vector<std::int64_t> Stage::hidden_shape(const GptInput& input) const {
  const std::int64_t rows = input.positions.size(0) / (sequence_parallel_ ? build_.tensor_group().size() : 1);
  return {rows, input.tokens.size(0), hidden_};
}

TokenLosses Stage::loss(const at::Tensor& hidden, const GptInput& input, const at::Tensor& weights) const {
  RT_CHECK(output_.has_value(), "the loss is that of a stage with the output layer");
  await_values(of_output_);
  return output_->loss(hidden, input.labels, weights);
}

}  // namespace ringtron
