// --strict-megatron: what Megatron-LM and TransformerEngine refuse under context parallelism, in their words.
// Ringtron itself has none of these limits.
#include <fmt/format.h>

#include <algorithm>

#include "ringtron/config/rule.h"

namespace ringtron::internal {
namespace {

using In = const RuleInput&;

bool strict(In in) { return in.given.parallel.strict_megatron && in.given.parallel.context_parallel_size > 1; }

// The first layer's word that `refused` holds for; empty if there is none.
template <class Refused>
std::string first_type(In in, Refused refused) {
  const auto& types = in.filled.parallel.cp_comm_type;
  const auto found = std::find_if(types.begin(), types.end(), refused);
  return found == types.end() ? std::string() : *found;
}

// Ranks among which a transport divides heads.
int head_ranks(In in, const std::string& type) {
  const ParallelConfig& p = in.given.parallel;
  if (type == "a2a") return p.context_parallel_size;
  return type == "a2a+p2p" && p.hierarchical_context_parallel_sizes.size() == 2
             ? p.hierarchical_context_parallel_sizes[0]
             : 1;
}

int local_heads(In in, int heads) { return heads / in.given.parallel.tensor_model_parallel_size; }

std::string type_with_odd_heads(In in) {
  return first_type(in, [&](const std::string& type) {
    const int ranks = head_ranks(in, type);
    return local_heads(in, in.filled.model.num_attention_heads) % ranks != 0 ||
           local_heads(in, in.filled.model.num_query_groups) % ranks != 0;
  });
}

// -1 before a query's own key is the causal mask.
bool has_window(In in) {
  const auto& window = in.given.model.window_size;
  return window.size() == 2 && window[0] >= 0;
}

std::string type_without_window(In in) {
  return first_type(in, [](const std::string& type) { return type == "p2p" || type == "a2a+p2p"; });
}

std::string type_without_sink(In in) {
  return first_type(in, [](const std::string& type) { return type != "a2a" && type != "auto"; });
}

constexpr std::string_view kFix = "change it, or leave out --strict-megatron";

constexpr Rule kRules[] = {
    {"--strict-megatron --seq-length --context-parallel-size",
     [](In in) {
       return strict(in) && in.given.model.seq_length % (2LL * in.given.parallel.context_parallel_size) != 0;
     },
     [](In in) {
       const long long unit = 2LL * in.given.parallel.context_parallel_size;
       return fmt::format(
           "seq-length should be a multiple of 2 * context-parallel-size if context-parallel-size > 1. "
           "--strict-megatron: expected a multiple of {}, got {}; use {}",
           unit, in.given.model.seq_length, multiples_near(in.given.model.seq_length, unit));
     },
     kFix},
    {"--strict-megatron --cp-comm-type --num-attention-heads --num-query-groups --tensor-model-parallel-size "
     "--context-parallel-size --hierarchical-context-parallel-sizes",
     [](In in) { return strict(in) && !type_with_odd_heads(in).empty(); },
     [](In in) {
       const std::string type = type_with_odd_heads(in);
       return fmt::format(
           "cp_comm_type='{}' requires num_heads % cp_size == 0 for Q, K, V. Found num_heads_q = {}, "
           "num_heads_kv = {}, cp_size = {}.",
           type, local_heads(in, in.filled.model.num_attention_heads),
           local_heads(in, in.filled.model.num_query_groups), head_ranks(in, type));
     },
     kFix},
    {"--strict-megatron --window-size --cp-comm-type",
     [](In in) { return strict(in) && has_window(in) && !type_without_window(in).empty(); },
     [](In in) {
       return fmt::format("Context parallelism does not support sliding window attention with cp_comm_type='{}'!",
                          type_without_window(in));
     },
     kFix},
    {"--strict-megatron --softmax-type --cp-comm-type",
     [](In in) {
       return strict(in) && in.given.model.softmax_type != SoftmaxKind::vanilla && !type_without_sink(in).empty();
     },
     [](In in) {
       return fmt::format("--softmax-type {}: Megatron-LM's context parallelism expects cp_comm_type='a2a', got '{}'",
                          word_of(in.given.model.softmax_type), type_without_sink(in));
     },
     kFix},
    {"--strict-megatron --cp-comm-type",
     [](In in) {
       return strict(in) && !first_type(in, [](const std::string& type) { return type == "auto"; }).empty();
     },
     [](In) { return std::string("Unsupported communication type: auto!"); }, kFix},
    {"--strict-megatron --multiple-validation-sets --full-validation",
     [](In in) {
       const EvaluationConfig& e = in.given.evaluation;
       return in.given.parallel.strict_megatron && e.multiple_validation_sets && !e.full_validation;
     },
     [](In) { return std::string("--multiple-validation-sets currently requires --full-validation"); }, kFix},
};

}  // namespace

std::span<const Rule> strict_megatron_rules() { return kRules; }

}  // namespace ringtron::internal
