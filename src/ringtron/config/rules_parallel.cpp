// Rules over the layout of ranks.
#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/text.h"
#include "ringtron/config/rule.h"

namespace ringtron::internal {
namespace {

using In = const RuleInput&;

double model_ranks(In in) {
  const ParallelConfig& p = in.given.parallel;
  return 1.0 * p.tensor_model_parallel_size * p.context_parallel_size * p.pipeline_model_parallel_size;
}

bool any_cp_type_but(In in, std::string_view type) {
  const auto& types = in.given.parallel.cp_comm_type;
  return std::any_of(types.begin(), types.end(), [&](const std::string& t) { return t != type; });
}

double hierarchical_product(In in) {
  double product = 1;
  for (int size : in.given.parallel.hierarchical_context_parallel_sizes) product *= size;
  return product;
}

// Where it does not, the rule over --seq-length says so; one cause, one fault.
bool divides_into_chunks(In in) {
  const long long cp = in.given.parallel.context_parallel_size;
  return cp == 1 || in.given.model.seq_length % (2 * cp) == 0;
}

constexpr Rule kRules[] = {
    {"--tensor-model-parallel-size --context-parallel-size --pipeline-model-parallel-size",
     [](In in) { return in.data_parallel_size == 0; },
     [](In in) {
       const ParallelConfig& p = in.given.parallel;
       return fmt::format(
           "world size ({}) is not divisible by total_model_size (total_model_size={:.0f}): tensor {} x "
           "context {} x "
           "pipeline {}",
           in.world_size, model_ranks(in), p.tensor_model_parallel_size, p.context_parallel_size,
           p.pipeline_model_parallel_size);
     },
     "start a multiple of that many ranks, or make the sizes smaller"},
    {"--pipeline-model-parallel-size",
     [](In in) { return in.given.parallel.pipeline_model_parallel_size > 1; },
     [](In in) {
       return fmt::format(
           "--pipeline-model-parallel-size: expected 1, got {}: pipeline parallelism comes in a later "
           "version",
           in.given.parallel.pipeline_model_parallel_size);
     },
     "use --tensor-model-parallel-size and --context-parallel-size"},
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
       return types != 1 && types != static_cast<std::size_t>(in.given.model.num_layers);
     },
     [](In in) {
       return fmt::format("--cp-comm-type: expected one word, or one for each of {} layers, got {}",
                          in.given.model.num_layers, in.given.parallel.cp_comm_type.size());
     },
     "give one word"},
    {"--cp-comm-type", [](In in) { return any_cp_type_but(in, "p2p"); },
     [](In in) {
       return fmt::format(
           "--cp-comm-type: expected p2p, got {}: the other transports come in a later version",
           join(in.given.parallel.cp_comm_type, " "));
     },
     "use p2p; the loss is the same with each of them"},
    {"--sequence-parallel --seq-length --tensor-model-parallel-size --context-parallel-size",
     [](In in) {
       const ParallelConfig& p = in.resolved.parallel;
       return p.sequence_parallel && divides_into_chunks(in) &&
              in.given.model.seq_length / p.context_parallel_size % p.tensor_model_parallel_size != 0;
     },
     [](In in) {
       const ParallelConfig& p = in.resolved.parallel;
       return fmt::format(
           "--sequence-parallel: expected a --seq-length that {} (TP {} x CP {}) divides, got {}",
           1LL * p.tensor_model_parallel_size * p.context_parallel_size, p.tensor_model_parallel_size,
           p.context_parallel_size, in.given.model.seq_length);
     },
     "change --seq-length, or leave out --sequence-parallel"},
};

}  // namespace

std::span<const Rule> parallel_rules() {
  return kRules;
}

}  // namespace ringtron::internal
