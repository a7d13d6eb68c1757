#include "ringtron/tools/check/describe_pipeline.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/text.h"
#include "ringtron/models/model_spec.h"
#include "ringtron/models/state_bytes.h"
#include "ringtron/pipeline_parallel/pipeline_picture.h"

namespace ringtron {
namespace {

using Lines = std::vector<std::string>;

constexpr int kShownRanks = 16;
constexpr std::size_t kShownStages = 16;     // of one rank
constexpr int kMostPieces = 4096;            // forwards of one rank, of a schedule that is followed in full
constexpr std::size_t kWidestPicture = 160;  // columns

std::string text_of(const StageRange& stage) {
  std::string text;
  const auto add = [&](const std::string& what) { text += (text.empty() ? "" : " + ") + what; };
  if (stage.embedding) add("embedding");
  if (stage.count == 1) add(fmt::format("layer {}", stage.first));
  if (stage.count > 1) add(fmt::format("layers {}-{}", stage.first, stage.first + stage.count - 1));
  if (stage.output) add("output and loss");
  return text.empty() ? "nothing" : text;
}

// A hidden state of one micro-batch, on one rank.
std::int64_t message_bytes(const ResolvedConfig& config, const ModelSpec& model) {
  const std::int64_t ranks = config->parallel.context_parallel_size;
  const std::int64_t rows = (config->model.seq_length + ranks - 1) / ranks;
  const std::int64_t tensor_ranks = model.embedding.sequence_parallel ? config->parallel.tensor_model_parallel_size : 1;
  return rows / tensor_ranks * config->batch.micro_batch_size * model.embedding.hidden * model_element_bytes(config);
}

std::string name_of(const PipelineShape& shape) {
  return shape.chunks > 1 ? fmt::format("interleaved, {} virtual stages a rank", shape.chunks)
                          : std::string(word_of(shape.schedule));
}

// The share of a step that ranks wait, if a forward and each half of a backward take the same time.
double waiting_by_formula(const PipelineShape& shape) {
  const double waiting = (shape.stages - 1) * (shape.splits_backward() ? 1.0 : 3.0);
  return waiting / (3.0 * shape.micro_batches * shape.chunks + waiting);
}

// What makes ranks wait less.
std::string advice(const PipelineShape& shape) {
  const bool is_default = shape.schedule == PipelineScheduleKind::one_forward_one_backward;
  return fmt::format(
      "NOTE: more micro-batches (a larger --global-batch-size, or fewer data-parallel ranks){} let them wait less",
      is_default ? ", virtual stages (--num-virtual-stages-per-pipeline-rank) or --pipeline-schedule zero-bubble" : "");
}

}  // namespace

Lines describe_pipeline(const ResolvedConfig& config, int micro_batches) {
  const ModelSpec model = model_spec(config);
  const int ranks = config->parallel.pipeline_model_parallel_size;
  if (model.pipeline_ranks < ranks) return {"not known: see the faults"};
  Lines lines;
  for (int rank = 0; rank < std::min(ranks, kShownRanks); ++rank) {
    const std::vector<StageRange> stages = stages_of_rank(model.stages, rank, ranks);
    std::string text;
    for (std::size_t s = 0; s < std::min(stages.size(), kShownStages); ++s)
      text += (text.empty() ? "" : ", then ") + text_of(stages[s]);
    if (stages.size() > kShownStages) text += fmt::format(", ... {} more", stages.size() - kShownStages);
    lines.push_back(fmt::format("rank {}: {}", rank, text));
  }
  if (ranks > kShownRanks) lines.push_back(fmt::format("... {} more", ranks - kShownRanks));
  const PipelineShape shape{ranks, static_cast<int>(model.stages.size()) / ranks, micro_batches,
                            config->parallel.microbatch_group_size_per_virtual_pipeline_stage,
                            config->parallel.pipeline_schedule};
  const std::int64_t message = message_bytes(config, model);
  lines.push_back(fmt::format("{}, {} micro-batches a step; at most {} under way on rank 0", name_of(shape),
                              micro_batches, most_in_flight(shape, 0)));
  lines.push_back(fmt::format("between stages {} of hidden states a micro-batch, and the same back",
                              human_bytes(static_cast<std::uint64_t>(message))));
  if (std::int64_t{micro_batches} * shape.chunks * ranks > kMostPieces) {
    lines.push_back(fmt::format("ranks wait about {:.1f} % of a step", 100.0 * waiting_by_formula(shape)));
    return lines;
  }
  const PipelineTimes times = pipeline_times([&](int rank) { return training_schedule(shape, rank); }, shape);
  const double waiting = times.waiting();
  lines.push_back(fmt::format("ranks wait {:.1f} % of a step, if all stages take the same time", 100.0 * waiting));
  if (waiting > 0.25) {
    lines.push_back(advice(shape));
  }
  const Lines picture = draw(times, shape);
  if (ranks <= kShownRanks && picture.front().size() <= kWidestPicture) {
    lines.push_back(
        fmt::format("forwards by micro-batch, backwards in brackets, {}, dots where a rank waits:",
                    shape.splits_backward() ? "weight gradients in round ones" : "a letter for the virtual stage"));
    for (int rank = 0; rank < ranks; ++rank)
      lines.push_back(fmt::format("  {:>2} {}", rank, picture[static_cast<std::size_t>(rank)]));
  }
  return lines;
}

}  // namespace ringtron
