// Rules over hybrid models: the letters of their layers, and how Mamba layers divide.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ringtron/base/text.h"
#include "ringtron/config/rule.h"

namespace ringtron::internal {
namespace {

using In = const RuleInput&;

int tp(In in) { return in.given.parallel.tensor_model_parallel_size; }
const ModelConfig& model(In in) { return in.filled.model; }
bool has_mamba(In in) { return model(in).hybrid_layer_pattern.find('M') != std::string::npos; }

constexpr std::string_view kLetters = "M*-";

// Place of the first letter that is none of ours, or npos.
std::size_t first_unknown(In in) { return model(in).hybrid_layer_pattern.find_first_not_of(kLetters); }

// Bars stand between the stages of a pipeline.
std::ptrdiff_t layers_in(std::string_view pattern) { return std::ssize(pattern) - std::ranges::count(pattern, '|'); }

std::string_view meaning_of(char letter) {
  switch (letter) {
    case 'E':
      return " (mixture of experts, which is not built)";
    case 'G':
      return " (gated delta net, which is not built)";
    case 'D':
      return " (sparse attention, which is not built)";
    case '+':
      return " (multi-head latent attention, which is not built)";
    case '/':
      return " (multi-token prediction, which is not built)";
    default:
      return "";
  }
}

// "1, 2 or 4": the tensor-parallel sizes that divide all of these.
std::string sizes_that_divide(std::int64_t a, std::int64_t b) {
  std::vector<std::string> sizes;
  for (std::int64_t size = 1; size <= a && size <= b && sizes.size() < 8; ++size) {
    if (a % size == 0 && b % size == 0) sizes.push_back(fmt::format("{}", size));
  }
  if (sizes.size() == 1) return sizes[0];
  const std::string last = sizes.back();
  sizes.pop_back();
  return join(sizes, ", ") + " or " + last;
}

bool is_known_spec(const std::vector<std::string>& spec) {
  if (spec.size() != 2) return false;
  return (spec[0] == "megatron.core.models.mamba.mamba_layer_specs" && spec[1] == "mamba_stack_spec") ||
         (spec[0] == "megatron.core.models.hybrid.hybrid_layer_specs" && spec[1] == "hybrid_stack_spec");
}

constexpr Rule kRules[] = {
    {"--hybrid-layer-pattern --hybrid-override-pattern", [](In in) { return first_unknown(in) != std::string::npos; },
     [](In in) {
       const std::size_t place = first_unknown(in);
       const char letter = model(in).hybrid_layer_pattern[place];
       const std::string shown = letter >= ' ' && letter <= '~'
                                     ? fmt::format("'{}'", letter)
                                     : fmt::format("byte {}", static_cast<int>(static_cast<unsigned char>(letter)));
       return fmt::format(
           "--hybrid-layer-pattern: expected letters M (Mamba), * (attention), - (MLP), got {}{} as letter {} of {}",
           shown, meaning_of(letter), place + 1, model(in).hybrid_layer_pattern.size());
     },
     "write one letter for each layer, without blanks"},
    {"--hybrid-override-pattern --num-layers",
     [](In in) {
       const ModelConfig& m = in.given.model;
       return !m.hybrid_override_pattern.empty() && m.num_layers > 0 &&
              layers_in(m.hybrid_override_pattern) != m.num_layers;
     },
     [](In in) {
       return fmt::format("--hybrid-override-pattern: expected a letter for each of {} layers (--num-layers), got {}",
                          in.given.model.num_layers, layers_in(in.given.model.hybrid_override_pattern));
     },
     "correct one of them, or leave out --num-layers"},
    {"--hybrid-override-pattern --hybrid-layer-pattern",
     [](In in) {
       const ModelConfig& m = in.given.model;
       return !m.hybrid_override_pattern.empty() && !m.hybrid_layer_pattern.empty() &&
              m.hybrid_override_pattern != m.hybrid_layer_pattern;
     },
     [](In) {
       return std::string(
           "--hybrid-override-pattern, --hybrid-layer-pattern: expected one of them, got two that differ");
     },
     "keep --hybrid-layer-pattern"},
    {"--spec", [](In in) { return !in.given.model.spec.empty() && !is_known_spec(in.given.model.spec); },
     [](In in) {
       return fmt::format(
           "--spec: expected megatron.core.models.mamba.mamba_layer_specs mamba_stack_spec, got {}: other models of "
           "that kind are not built",
           excerpt(join(in.given.model.spec, " ")));
     },
     "leave it out for a GPT model"},
    {"--mamba-head-dim --mamba-num-heads --hidden-size",
     [](In in) {
       return has_mamba(in) && in.given.model.mamba_num_heads == 0 && model(in).hidden_size > 0 &&
              2LL * model(in).hidden_size % model(in).mamba_head_dim != 0;
     },
     [](In in) {
       return fmt::format("--mamba-head-dim: expected a divisor of twice --hidden-size {}, got {}",
                          model(in).hidden_size, model(in).mamba_head_dim);
     },
     "change it, or give --mamba-num-heads"},
    {"--mamba-num-heads --mamba-num-groups",
     [](In in) { return has_mamba(in) && model(in).mamba_num_heads % model(in).mamba_num_groups != 0; },
     [](In in) {
       return fmt::format("--mamba-num-groups: expected a divisor of the {} heads of a Mamba layer, got {}",
                          model(in).mamba_num_heads, model(in).mamba_num_groups);
     },
     "change --mamba-num-groups, --mamba-num-heads or --mamba-head-dim"},
    {"--mamba-num-groups --tensor-model-parallel-size",
     [](In in) { return has_mamba(in) && model(in).mamba_num_groups % tp(in) != 0; },
     [](In in) {
       return fmt::format(
           "--mamba-num-groups: expected a multiple of --tensor-model-parallel-size {}, got {}; {} heads in these groups "
           "divide by {}",
           tp(in), model(in).mamba_num_groups, model(in).mamba_num_heads,
           sizes_that_divide(model(in).mamba_num_groups, model(in).mamba_num_heads));
     },
     "use one of these as tensor-parallel size; context parallelism has no such limit"},
};

}  // namespace

std::span<const Rule> hybrid_rules() { return kRules; }

}  // namespace ringtron::internal
