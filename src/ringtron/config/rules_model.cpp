// Rules over the shape of the model and over how it divides among ranks.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "ringtron/base/text.h"
#include "ringtron/config/rule.h"
#include "ringtron/config/size_limits.h"

namespace ringtron::internal {
namespace {

using In = const RuleInput&;

int tp(In in) { return in.given.parallel.tensor_model_parallel_size; }
const ModelConfig& model(In in) { return in.filled.model; }

int lowest(const std::vector<int>& numbers) {
  return numbers.empty() ? 0 : *std::min_element(numbers.begin(), numbers.end());
}

// The MLP's width follows from a hidden size so large that it was cut to what an int holds, which divides or not by
// chance.
bool is_beyond_int(In in) {
  return in.given.model.ffn_hidden_size == 0 && model(in).ffn_hidden_size == std::numeric_limits<int>::max();
}

bool is_yarn(In in) { return model(in).position_embedding_type == PositionEmbedding::yarn; }

// The part of each head that is rotated must consist of pairs.
int rotary_channels(In in) { return static_cast<int>(model(in).kv_channels * model(in).rotary_percent); }

constexpr Rule kRules[] = {
    {"--no-position-embedding --position-embedding-type",
     [](In in) {
       return model(in).no_position_embedding &&
              model(in).position_embedding_type == PositionEmbedding::learned_absolute;
     },
     [](In) {
       return std::string(
           "--no-position-embedding is deprecated: expected --position-embedding-type rope, yarn or none with it, got "
           "learned_absolute");
     },
     "use --position-embedding-type"},
    {"--num-layers", [](In in) { return model(in).num_layers == 0; },
     [](In) { return std::string("num_layers argument is None: expected --num-layers"); }, "give the number of layers"},
    {"--hidden-size", [](In in) { return in.given.model.hidden_size == 0; },
     [](In) { return std::string("hidden_size argument is None: expected --hidden-size"); },
     "give the width of the model"},
    {"--num-attention-heads", [](In in) { return in.given.model.num_attention_heads == 0; },
     [](In) { return std::string("num_attention_heads argument is None: expected --num-attention-heads"); },
     "give the number of query heads"},
    {"--max-position-embeddings", [](In in) { return in.given.model.max_position_embeddings == 0; },
     [](In) { return std::string("max_position_embeddings argument is None: expected --max-position-embeddings"); },
     "give the number of positions, usually the value of --seq-length"},
    {"--seq-length", [](In in) { return in.given.model.seq_length == 0; },
     [](In) { return std::string("seq_length argument is None: expected --seq-length"); },
     "give the length of a training sequence in tokens"},

    {"--max-position-embeddings --seq-length",
     [](In in) {
       const ModelConfig& m = in.given.model;
       return m.max_position_embeddings > 0 && m.max_position_embeddings < m.seq_length;
     },
     [](In in) {
       return fmt::format("max_position_embeddings ({}) must be greater than or equal to seq_length ({}).",
                          in.given.model.max_position_embeddings, in.given.model.seq_length);
     },
     "raise --max-position-embeddings or shorten --seq-length"},

    {"--kv-channels --hidden-size --num-attention-heads",
     [](In in) {
       const ModelConfig& m = in.given.model;
       return m.kv_channels == 0 && m.num_attention_heads > 0 && m.hidden_size % m.num_attention_heads != 0;
     },
     [](In in) {
       return fmt::format("--hidden-size: expected a multiple of --num-attention-heads {}, got {}",
                          in.given.model.num_attention_heads, in.given.model.hidden_size);
     },
     "change one of them, or give the head size with --kv-channels"},
    {"--num-attention-heads --tensor-model-parallel-size",
     [](In in) { return in.given.model.num_attention_heads % tp(in) != 0; },
     [](In in) {
       return fmt::format("--num-attention-heads: expected a multiple of --tensor-model-parallel-size {}, got {}",
                          tp(in), in.given.model.num_attention_heads);
     },
     "choose a tensor-parallel size that divides the heads"},
    {"--num-query-groups --num-attention-heads",
     [](In in) {
       const ModelConfig& m = in.given.model;
       return m.group_query_attention && m.num_attention_heads % m.num_query_groups != 0;
     },
     [](In in) {
       return fmt::format("--num-query-groups: expected a divisor of --num-attention-heads {}, got {}",
                          in.given.model.num_attention_heads, in.given.model.num_query_groups);
     },
     "change the number of groups"},
    {"--num-query-groups --tensor-model-parallel-size",
     [](In in) { return in.given.model.group_query_attention && in.given.model.num_query_groups % tp(in) != 0; },
     [](In in) {
       return fmt::format("--num-query-groups: expected a multiple of --tensor-model-parallel-size {}, got {}", tp(in),
                          in.given.model.num_query_groups);
     },
     "choose a tensor-parallel size that divides the groups; context parallelism has no such limit"},
    {"--ffn-hidden-size --hidden-size --tensor-model-parallel-size",
     [](In in) { return model(in).ffn_hidden_size % tp(in) != 0 && !is_beyond_int(in); },
     [](In in) {
       return in.given.model.ffn_hidden_size > 0
                  ? fmt::format("--ffn-hidden-size: expected a multiple of --tensor-model-parallel-size {}, got {}",
                                tp(in), model(in).ffn_hidden_size)
                  : fmt::format(
                        "the width of the MLP, {} of --hidden-size {}: expected a multiple of "
                        "--tensor-model-parallel-size {}, got {}",
                        model(in).swiglu ? "int(8 h / 3 / 64) * 64" : "4 h", model(in).hidden_size, tp(in),
                        model(in).ffn_hidden_size);
     },
     "give an --ffn-hidden-size that divides"},
    {"--swiglu --hidden-size --ffn-hidden-size",
     [](In in) { return model(in).hidden_size > 0 && model(in).ffn_hidden_size == 0; },
     [](In in) {
       return fmt::format(
           "--ffn-hidden-size: the default of --swiglu, int(8 h / 3 / 64) * 64, is 0 for a hidden size "
           "of {}",
           model(in).hidden_size);
     },
     "give --ffn-hidden-size"},
    {"--swiglu --squared-relu --openai-gelu",
     [](In in) { return int{model(in).swiglu} + model(in).squared_relu + model(in).openai_gelu > 1; },
     [](In) { return std::string("--swiglu, --squared-relu, --openai-gelu: expected at most one activation"); },
     "keep one"},
    {"--use-rotary-position-embeddings --position-embedding-type --rotary-percent --kv-channels",
     [](In in) {
       return model(in).is_rotary() && model(in).kv_channels > 0 &&
              (rotary_channels(in) == 0 || rotary_channels(in) % 2 != 0);
     },
     [](In in) {
       return fmt::format(
           "rotary positions: expected an even number of rotated channels, got {} (head size {} x "
           "--rotary-percent {})",
           rotary_channels(in), model(in).kv_channels, model(in).rotary_percent);
     },
     "change the head size or --rotary-percent"},
    {"--use-rope-scaling --position-embedding-type",
     [](In in) { return model(in).use_rope_scaling && model(in).position_embedding_type != PositionEmbedding::rope; },
     [](In in) {
       return fmt::format("--use-rope-scaling: expected --position-embedding-type rope, got {}",
                          word_of(model(in).position_embedding_type));
     },
     "give one of the two: --position-embedding-type rope with it scales as Llama 3.1 does, --position-embedding-type "
     "yarn without it as YaRN does"},
    {"--rope-type --position-embedding-type", [](In in) { return model(in).rope_type.has_value(); },
     [](In in) {
       return fmt::format("--rope-type {}: expected --position-embedding-type rope{}, got {}",
                          word_of(*model(in).rope_type), model(in).rope_type == RopeType::yarn ? " or yarn" : "",
                          word_of(model(in).position_embedding_type));
     },
     "leave out --rope-type, or add --position-embedding-type rope"},
    {"--position-embedding-type --rope-type --rotary-seq-len-interpolation-factor",
     [](In in) { return is_yarn(in) && model(in).rotary_seq_len_interpolation_factor > 0; },
     [](In in) {
       return fmt::format(
           "--rotary-seq-len-interpolation-factor {}: YaRN scales frequencies itself, and positions would "
           "be scaled twice",
           model(in).rotary_seq_len_interpolation_factor);
     },
     "keep --position-embedding-type yarn with --rotary-scaling-factor, or --position-embedding-type rope with this "
     "factor"},
    {"--yarn-beta-fast --yarn-beta-slow --position-embedding-type --rope-type",
     [](In in) { return is_yarn(in) && model(in).yarn_beta_fast <= model(in).yarn_beta_slow; },
     [](In in) {
       return fmt::format("--yarn-beta-fast: expected more turns than --yarn-beta-slow {}, got {}",
                          model(in).yarn_beta_slow, model(in).yarn_beta_fast);
     },
     "raise --yarn-beta-fast"},
    {"--rotary-base --position-embedding-type --rope-type",
     [](In in) { return is_yarn(in) && model(in).rotary_base <= 1.0; },
     [](In in) { return fmt::format("--rotary-base: expected more than 1 with YaRN, got {}", model(in).rotary_base); },
     "give the model's base, such as 10000"},
    {"--window-size",
     [](In in) { return !in.given.model.window_size.empty() && in.given.model.window_size.size() != 2; },
     [](In in) {
       return fmt::format("--window-size: expected two numbers, keys before and after a query's own, got {}",
                          in.given.model.window_size.size());
     },
     "write --window-size 127 0 for the last 128 keys"},
    {"--window-size", [](In in) { return lowest(in.given.model.window_size) < -1; },
     [](In in) {
       return fmt::format("--window-size: expected numbers of keys, or -1 for all, got {}",
                          lowest(in.given.model.window_size));
     },
     "write -1 for no limit"},
    {"--window-size", [](In in) { return in.given.model.window_size.size() == 2 && in.given.model.window_size[1] > 0; },
     [](In in) {
       return fmt::format("--window-size: expected 0 keys after a query's own, got {}: the causal mask hides them",
                          in.given.model.window_size[1]);
     },
     "write 0 as the second number"},
    {"--padded-vocab-size --tensor-model-parallel-size",
     [](In in) { return in.given.model.padded_vocab_size % tp(in) != 0; },
     [](In in) {
       return fmt::format("--padded-vocab-size: expected a multiple of --tensor-model-parallel-size {}, got {}; use {}",
                          tp(in), in.given.model.padded_vocab_size,
                          multiples_near(in.given.model.padded_vocab_size, tp(in)));
     },
     ""},
    {"--padded-vocab-size --vocab-size",
     [](In in) {
       return in.given.model.padded_vocab_size > 0 && in.given.model.padded_vocab_size < in.given.data.vocab_size;
     },
     [](In in) {
       return fmt::format("--padded-vocab-size: expected at least --vocab-size {}, got {}", in.given.data.vocab_size,
                          in.given.model.padded_vocab_size);
     },
     "raise it, or leave it out"},
};

}  // namespace

std::span<const Rule> model_rules() { return kRules; }

}  // namespace ringtron::internal

// Sizes beyond what any machine runs: counting with them would overflow, and making them would only end in a lack of
// memory.
namespace ringtron {

namespace {

struct Size {
  std::string name;
  std::int64_t value, limit;
  bool follows = false;  // from another size here, and is too large only if that one is
};

// "--global-batch-size", or what it is made of. Beyond an int it is not counted further.
Size batch_size(const Config& given, const Config& filled, std::int64_t limit) {
  const int value = filled.batch.global_batch_size;
  if (given.batch.global_batch_size > 0) return {"--global-batch-size", value, limit};
  return {value == std::numeric_limits<int>::max() ? "--micro-batch-size x data-parallel ranks, at least"
                                                   : "--micro-batch-size x data-parallel ranks",
          value, limit};
}

}  // namespace

std::vector<std::string> sizes_beyond_limits(const Config& given, const Config& filled) {
  constexpr std::int64_t kLayers = 1 << 14, kWidth = 1 << 20, kTokens = 1 << 28;
  constexpr std::int64_t kSteps = std::int64_t{1} << 34;  // times a batch of any size they are samples in 64 bits
  const ModelConfig& m = filled.model;
  const bool padded = given.model.padded_vocab_size > 0;
  const Size sizes[] = {
      {"--num-layers", m.num_layers, kLayers},
      {"--hidden-size", m.hidden_size, kWidth / 2},
      {"--ffn-hidden-size", m.ffn_hidden_size, 2 * kWidth, given.model.ffn_hidden_size == 0},
      {"--num-attention-heads x --kv-channels", std::int64_t{m.num_attention_heads} * m.kv_channels, kWidth,
       given.model.kv_channels == 0},
      {"--num-query-groups x --kv-channels", std::int64_t{m.num_query_groups} * m.kv_channels, kWidth,
       m.num_query_groups <= m.num_attention_heads},
      {"--mamba-num-heads x --mamba-head-dim", std::int64_t{m.mamba_num_heads} * m.mamba_head_dim, kWidth,
       given.model.mamba_num_heads == 0},
      {"--mamba-num-groups x --mamba-state-dim", std::int64_t{m.mamba_num_groups} * m.mamba_state_dim, kWidth},
      {"--vocab-size", filled.data.vocab_size, kTokens},
      {padded ? "--padded-vocab-size" : "the padded vocabulary", m.padded_vocab_size, kTokens,
       !padded && filled.data.vocab_size > kTokens},
      {"--make-vocab-size-divisible-by x --tensor-model-parallel-size",
       std::int64_t{m.make_vocab_size_divisible_by} * filled.parallel.tensor_model_parallel_size, kTokens},
      {"--max-position-embeddings", m.max_position_embeddings, kTokens},
      {"--seq-length x --micro-batch-size", std::int64_t{m.seq_length} * filled.batch.micro_batch_size, kTokens},
      batch_size(given, filled, kTokens),
      {"--train-iters", filled.batch.train_iters, kSteps},
      {"--train-samples", filled.batch.train_samples, kSteps * kTokens},
      {"--lr-decay-iters", filled.optimizer.lr_decay_iters, kSteps, given.optimizer.lr_decay_iters == 0},
      {"--lr-warmup-iters", filled.optimizer.lr_warmup_iters, kSteps},
  };
  std::vector<std::string> beyond;
  for (const Size& size : sizes) {
    if (size.value <= size.limit || size.follows) continue;
    beyond.push_back(fmt::format("{} {} (at most {})", size.name, size.value, size.limit));
  }
  return beyond;
}

namespace internal {
namespace {

constexpr Rule kSizeRules[] = {
    {"--num-layers --hidden-size --ffn-hidden-size --num-attention-heads --kv-channels --num-query-groups --vocab-size "
     "--padded-vocab-size --make-vocab-size-divisible-by --mamba-num-heads --mamba-head-dim --mamba-num-groups "
     "--mamba-state-dim --max-position-embeddings --seq-length --micro-batch-size "
     "--global-batch-size --train-iters --train-samples --lr-decay-iters --lr-warmup-iters",
     [](const RuleInput& in) { return !sizes_beyond_limits(in.given, in.filled).empty(); },
     [](const RuleInput& in) {
       return fmt::format("too large for any machine: {}", join(sizes_beyond_limits(in.given, in.filled), ", "));
     },
     "give smaller sizes"},
};

}  // namespace

std::span<const Rule> size_rules() { return kSizeRules; }

}  // namespace internal
}  // namespace ringtron
