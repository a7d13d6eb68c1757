// Rules over the layout of ranks.
#include <fmt/format.h>

#include <algorithm>

#include "ringtron/config/rule.h"

namespace ringtron::internal {
namespace {

using In = const RuleInput&;

double model_ranks(In in) {
  const ParallelConfig& p = in.given.parallel;
  return 1.0 * p.tensor_model_parallel_size * p.context_parallel_size * p.pipeline_model_parallel_size;
}

bool some_layer_has(In in, std::string_view type) {
  const auto& types = in.given.parallel.cp_comm_type;
  return std::find(types.begin(), types.end(), type) != types.end();
}

double hierarchical_product(In in) {
  double product = 1;
  for (int size : in.given.parallel.hierarchical_context_parallel_sizes) product *= size;
  return product;
}

constexpr Rule kRules[] = {
    {"--tensor-model-parallel-size --context-parallel-size --pipeline-model-parallel-size",
     [](In in) { return in.data_parallel_size == 0; },
     [](In in) {
       const ParallelConfig& p = in.given.parallel;
       std::string text = fmt::format(
           "world size ({}) is not divisible by total_model_size (total_model_size={:.0f}): tensor {} x "
           "context {} x "
           "pipeline {}; start a multiple of that many ranks, or make the sizes smaller",
           in.world_size, model_ranks(in), p.tensor_model_parallel_size, p.context_parallel_size,
           p.pipeline_model_parallel_size);
       // One rank is what a program has that no launcher started.
       if (in.world_size == 1)
         text += fmt::format("; start it with: ringrun --nproc-per-node {:.0f} PROGRAM ...", model_ranks(in));
       return text;
     },
     ""},
    {"--hierarchical-context-parallel-sizes --context-parallel-size",
     [](In in) {
       return !in.given.parallel.hierarchical_context_parallel_sizes.empty() &&
              hierarchical_product(in) != in.given.parallel.context_parallel_size;
     },
     [](In in) {
       return fmt::format(
           "--hierarchical-context-parallel-sizes: expected sizes whose product is "
           "--context-parallel-size {}, got product {:.0f}",
           in.given.parallel.context_parallel_size, hierarchical_product(in));
     },
     "correct the sizes, or leave them out"},
    {"--cp-comm-type --num-layers",
     [](In in) {
       const std::size_t types = in.given.parallel.cp_comm_type.size();
       return types != 1 && types != static_cast<std::size_t>(in.filled.model.num_layers);
     },
     [](In in) {
       return fmt::format("--cp-comm-type: expected one word, or one for each of {} layers, got {}",
                          in.filled.model.num_layers, in.given.parallel.cp_comm_type.size());
     },
     "give one word, or as many as layers"},
    {"--hierarchical-context-parallel-sizes",
     [](In in) {
       const std::size_t levels = in.given.parallel.hierarchical_context_parallel_sizes.size();
       return levels != 0 && levels != 2;
     },
     [](In in) {
       return fmt::format(
           "--hierarchical-context-parallel-sizes: expected two sizes A P (ranks that share heads, groups in "
           "the ring), got {}",
           in.given.parallel.hierarchical_context_parallel_sizes.size());
     },
     "give two whose product is --context-parallel-size"},
    {"--cp-comm-type --hierarchical-context-parallel-sizes",
     [](In in) {
       return some_layer_has(in, "a2a+p2p") && in.given.parallel.hierarchical_context_parallel_sizes.empty();
     },
     [](In) {
       return std::string(
           "--hierarchical-context-parallel-sizes must be set when a2a+p2p is used in cp comm: expected two "
           "sizes A P, got none");
     },
     "A x P is --context-parallel-size; A neighbouring ranks share heads"},
    {"--sequence-parallel --seq-length --tensor-model-parallel-size",
     [](In in) {
       const ParallelConfig& p = in.filled.parallel;
       return p.sequence_parallel && in.given.model.seq_length % p.tensor_model_parallel_size != 0;
     },
     [](In in) {
       const int tp = in.filled.parallel.tensor_model_parallel_size;
       return fmt::format("--sequence-parallel: expected a --seq-length that TP {} divides, got {}; use {}", tp,
                          in.given.model.seq_length, multiples_near(in.given.model.seq_length, tp));
     },
     ""},
};

}  // namespace

std::span<const Rule> parallel_rules() { return kRules; }

}  // namespace ringtron::internal
