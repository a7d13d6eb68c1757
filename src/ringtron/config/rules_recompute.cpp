// Rules over the recomputation of activations: Megatron-LM's, with its words.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "ringtron/config/pipeline/stage_split.h"
#include "ringtron/config/rule.h"

namespace ringtron::internal {
namespace {

using In = const RuleInput&;

// layernorm: with any granularity outputs of norms are not kept (modules/layer_options.cpp).
constexpr std::array<std::string_view, 3> kModules = {"core_attn", "mlp", "layernorm"};

const RecomputeConfig& recompute(In in) { return in.filled.recompute; }

// The most that a pipeline rank has.
int layers_of_rank(In in) {
  const int ranks = in.filled.parallel.pipeline_model_parallel_size;
  const StageSplit split = split_into_stages(in.filled.parallel, in.filled.model);
  if (split.stages.empty()) return in.filled.model.num_layers;  // another rule tells what is wrong
  int most = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    int layers = 0;
    for (const StageRange& stage : stages_of_rank(split.stages, rank, ranks)) layers += stage.count;
    most = std::max(most, layers);
  }
  return most;
}

std::string other_module(In in) {
  const auto& modules = recompute(in).modules;
  const auto found =
      std::ranges::find_if(modules, [](const std::string& module) { return !std::ranges::count(kModules, module); });
  return found == modules.end() ? std::string() : *found;
}

constexpr Rule kRules[] = {
    {"--recompute-activations --ckpt-activations --recompute-granularity",
     [](In in) { return recompute(in).activations && recompute(in).granularity == RecomputeGranularity::full; },
     [](In) {
       return std::string("--recompute-activations: expected no --recompute-granularity but selective, got full");
     },
     "keep one of both"},
    {"--recompute-granularity --recompute-method",
     [](In in) {
       const RecomputeConfig& r = recompute(in);
       return r.granularity == RecomputeGranularity::full && !r.method && !r.activations;
     },
     [](In) {
       return std::string("Using recompute_granularity: full so recompute_method must be \"block\" or \"uniform\"");
     },
     "add --recompute-method uniform --recompute-num-layers 1 for the least memory"},
    {"--recompute-granularity --recompute-num-layers --num-layers",
     [](In in) {
       const RecomputeConfig& r = recompute(in);
       const bool sound = r.num_layers >= 1 && r.num_layers <= layers_of_rank(in);
       return r.granularity == RecomputeGranularity::full && !r.activations && in.filled.model.num_layers > 0 && !sound;
     },
     [](In in) {
       const int got = recompute(in).num_layers;
       return fmt::format(
           "When using recompute_granularity: full recompute_num_layers must be between 1 and "
           "num_layers_per_pipeline_rank: {}, got {}",
           layers_of_rank(in), got == 0 ? std::string("none") : fmt::format("{}", got));
     },
     "give --recompute-num-layers in that range"},
    {"--recompute-granularity --recompute-method",
     [](In in) {
       return recompute(in).granularity == RecomputeGranularity::selective && recompute(in).method.has_value();
     },
     [](In in) {
       return fmt::format(
           "recompute method is not yet supported for selective recomputing granularity: expected no "
           "--recompute-method, got {}",
           word_of(*recompute(in).method));
     },
     "leave it out, or use --recompute-granularity full, which takes --recompute-method and --recompute-num-layers"},
    {"--recompute-granularity --recompute-num-layers",
     [](In in) {
       return recompute(in).granularity == RecomputeGranularity::selective && recompute(in).num_layers != 0;
     },
     [](In in) {
       return fmt::format("When using recompute_granularity: selective recompute_num_layers must be None. Got {}",
                          recompute(in).num_layers);
     },
     "leave it out, or use --recompute-granularity full, which takes --recompute-method and --recompute-num-layers"},
    {"--recompute-granularity --recompute-modules",
     [](In in) { return recompute(in).granularity == RecomputeGranularity::selective && !other_module(in).empty(); },
     [](In in) {
       return fmt::format(
           "--recompute-modules: expected {}, got {}: no other part of a layer is recomputed by itself yet",
           fmt::join(kModules, ", "), other_module(in));
     },
     "for more memory than these save use --recompute-granularity full --recompute-method uniform "
     "--recompute-num-layers 1, without it"},
};

}  // namespace

std::span<const Rule> recompute_rules() { return kRules; }

}  // namespace ringtron::internal
