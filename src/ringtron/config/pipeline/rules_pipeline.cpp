// Rules over pipelines: how layers are cut into stages, and which micro-batches go through virtual stages.
#include <fmt/format.h>

#include <cstdint>

#include "ringtron/config/batch/batch_schedule.h"
#include "ringtron/config/pipeline/stage_split.h"
#include "ringtron/config/rule.h"

namespace ringtron::internal {
namespace {

using In = const RuleInput&;

const ParallelConfig& parallel(In in) { return in.filled.parallel; }

int given_ways(In in) {
  const ParallelConfig& p = in.given.parallel;
  return (p.num_layers_per_virtual_pipeline_stage > 0 ? 1 : 0) + (p.num_virtual_stages_per_pipeline_rank > 0 ? 1 : 0) +
         (p.pipeline_model_parallel_layout.empty() ? 0 : 1);
}

bool uneven(const ParallelConfig& p) {
  return p.decoder_first_pipeline_num_layers > 0 || p.decoder_last_pipeline_num_layers > 0;
}

bool counts_ends(const ParallelConfig& p) {
  return p.account_for_embedding_in_pipeline_split || p.account_for_loss_in_pipeline_split;
}

// Of a model whose layers are known; without fault where they are not.
StageSplit split(In in) {
  if (in.filled.model.num_layers <= 0) return {};
  return split_into_stages(parallel(in), in.filled.model);
}

int virtual_stages(In in) {
  const StageSplit stages = split(in);
  return stages.stages.empty() ? 1 : stages.virtual_stages_of_rank(parallel(in).pipeline_model_parallel_size);
}

// Of a step, by each size of its global batch; fewer where they cannot be told.
std::vector<std::int64_t> micro_batches(In in) {
  const BatchConfig& batch = in.filled.batch;
  const std::int64_t one = std::int64_t{batch.micro_batch_size} * in.data_parallel_size;
  const auto result = try_batch_schedule(batch, in.filled.model.seq_length);
  std::vector<std::int64_t> counts;
  if (const auto* schedule = std::get_if<BatchSchedule>(&result); schedule != nullptr && one > 0) {
    for (const BatchSchedule::Part& part : schedule->parts()) {
      if (part.batch % one == 0) counts.push_back(part.batch / one);
    }
  }
  return counts;
}

// The first number of micro-batches that does not go in groups; 0 if all do.
std::int64_t micro_batches_in_no_groups(In in) {
  const ParallelConfig& p = parallel(in);
  if (p.pipeline_model_parallel_size < 2 || virtual_stages(in) < 2) return 0;
  const std::int64_t group = p.microbatch_group_size_per_virtual_pipeline_stage;
  for (const std::int64_t count : micro_batches(in)) {
    const std::int64_t rest = count % group;
    if (group < p.pipeline_model_parallel_size || group > count ||
        (rest != 0 && rest < p.pipeline_model_parallel_size)) {
      return count;
    }
  }
  return 0;
}

bool group_is_wrong(In in) { return micro_batches_in_no_groups(in) > 0; }

constexpr Rule kRules[] = {
    {"--num-layers-per-virtual-pipeline-stage --num-virtual-stages-per-pipeline-rank --pipeline-model-parallel-layout",
     [](In in) { return given_ways(in) > 1; },
     [](In in) {
       return fmt::format(
           "expected one of --num-layers-per-virtual-pipeline-stage, --num-virtual-stages-per-pipeline-rank and "
           "--pipeline-model-parallel-layout, got {} of them",
           given_ways(in));
     },
     "keep one"},
    {"--pipeline-model-parallel-layout --decoder-first-pipeline-num-layers --decoder-last-pipeline-num-layers "
     "--account-for-embedding-in-pipeline-split --account-for-loss-in-pipeline-split",
     [](In in) {
       const ParallelConfig& p = in.given.parallel;
       return !p.pipeline_model_parallel_layout.empty() && (uneven(p) || counts_ends(p));
     },
     [](In) {
       return std::string(
           "--pipeline-model-parallel-layout: expected no other flag about the layers of stages, got one of first or "
           "last stages, or of embedding or loss counted as layers");
     },
     "the layout says it all"},
    {"--decoder-first-pipeline-num-layers --decoder-last-pipeline-num-layers "
     "--account-for-embedding-in-pipeline-split --account-for-loss-in-pipeline-split",
     [](In in) { return uneven(parallel(in)) && counts_ends(parallel(in)); },
     [](In) {
       return std::string(
           "expected either numbers of layers for first and last stage, or embedding and loss counted as layers, got "
           "both");
     },
     "keep one of both"},
    {"--num-layers-per-virtual-pipeline-stage --num-virtual-stages-per-pipeline-rank --pipeline-model-parallel-size",
     [](In in) {
       const ParallelConfig& p = in.given.parallel;
       return p.pipeline_model_parallel_size < 2 &&
              (p.num_layers_per_virtual_pipeline_stage > 0 || p.num_virtual_stages_per_pipeline_rank > 0);
     },
     [](In) {
       return std::string(
           "pipeline-model-parallel size should be greater than 1 with interleaved schedule: expected "
           "--pipeline-model-parallel-size 2 or more, got 1");
     },
     "leave out the virtual stages"},
    {"--pipeline-schedule --num-layers-per-virtual-pipeline-stage --num-virtual-stages-per-pipeline-rank "
     "--pipeline-model-parallel-layout",
     [](In in) {
       return parallel(in).pipeline_schedule != PipelineScheduleKind::one_forward_one_backward &&
              virtual_stages(in) > 1;
     },
     [](In in) {
       return fmt::format("--pipeline-schedule {}: expected one stage a pipeline rank, got {} virtual stages",
                          word_of(parallel(in).pipeline_schedule), virtual_stages(in));
     },
     "virtual stages go with --pipeline-schedule 1F1B"},
    {"--num-layers --pipeline-model-parallel-size --num-layers-per-virtual-pipeline-stage "
     "--num-virtual-stages-per-pipeline-rank --decoder-first-pipeline-num-layers --decoder-last-pipeline-num-layers "
     "--account-for-embedding-in-pipeline-split --account-for-loss-in-pipeline-split --pipeline-model-parallel-layout",
     [](In in) { return !split(in).fault.empty(); }, [](In in) { return split(in).fault; },
     "check_cp_config prints the stages of a command line that is right"},
    {"--microbatch-group-size-per-virtual-pipeline-stage --global-batch-size --micro-batch-size "
     "--pipeline-model-parallel-size",
     group_is_wrong,
     [](In in) {
       const ParallelConfig& p = parallel(in);
       return fmt::format(
           "the interleaved schedule takes micro-batches in groups: expected at least {} (the pipeline size) in each, "
           "also in the last, got {} micro-batches in groups of {} "
           "(--microbatch-group-size-per-virtual-pipeline-stage)",
           p.pipeline_model_parallel_size, micro_batches_in_no_groups(in),
           p.microbatch_group_size_per_virtual_pipeline_stage);
     },
     "choose a --global-batch-size that makes the number of micro-batches a multiple of the group"},
};

}  // namespace

std::span<const Rule> pipeline_rules() { return kRules; }

}  // namespace ringtron::internal
