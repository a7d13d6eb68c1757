#include "ringtron/tools/verify/shrink_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ringtron/base/check.h"
#include "ringtron/base/text.h"
#include "ringtron/config/option.h"
#include "ringtron/config/pipeline/stage_split.h"
#include "ringtron/config/resolved_config.h"
#include "ringtron/config/validate.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron {
namespace {

constexpr int kSteps = 3;
constexpr int kVocabulary = 61;  // odd, so that there are padding rows
constexpr int kLayers = 2, kHidden = 32, kFfn = 48, kReplicas = 2, kMicroBatch = 2, kMicroBatches = 2;
constexpr int kShortest = 64;      // tokens of a sequence
constexpr int kTokensOfChunk = 4;  // of which zigzag has two a rank

// A layer of each kind for each transport, and small ones.
void shrink_pattern(Config& config) {
  ModelConfig& m = config.model;
  std::string letters, pattern;
  for (const char letter : m.hybrid_layer_pattern) {
    if (letters.find(letter) == std::string::npos) letters += letter;
  }
  std::vector<std::string>& types = config.parallel.cp_comm_type;
  std::vector<std::string> of_layers;
  for (const std::string& type : types) {
    pattern += letters;
    of_layers.insert(of_layers.end(), letters.size(), type);
  }
  m.hybrid_layer_pattern = pattern;
  m.num_layers = static_cast<int>(pattern.size());
  if (types.size() > 1) types = of_layers;
  const int tp = config.parallel.tensor_model_parallel_size, per_group = m.mamba_num_heads / m.mamba_num_groups;
  m.mamba_num_groups = tp * std::min(2, m.mamba_num_groups / tp);
  m.mamba_num_heads = m.mamba_num_groups * std::min(per_group, 3);
  m.mamba_head_dim = std::min(m.mamba_head_dim, 4);
  m.mamba_state_dim = std::min(m.mamba_state_dim, 8);
}

// As many virtual stages as before, which share the layers that are left; some may have none.
void shrink_stages(Config& config, int stages) {
  ParallelConfig& p = config.parallel;
  p.num_layers_per_virtual_pipeline_stage = p.num_virtual_stages_per_pipeline_rank = 0;
  p.decoder_first_pipeline_num_layers = p.decoder_last_pipeline_num_layers = 0;
  p.account_for_embedding_in_pipeline_split = p.account_for_loss_in_pipeline_split = false;
  p.pipeline_model_parallel_layout.clear();
  if (p.pipeline_model_parallel_size == 1) return;
  const int layers = config.model.num_layers;
  std::string letters(1, 'E');
  for (int stage = 0; stage < stages; ++stage) {
    if (stage > 0) letters += '|';
    const int count = (stage + 1) * layers / stages - stage * layers / stages;
    letters.append(static_cast<std::size_t>(count), 't');
  }
  p.pipeline_model_parallel_layout = letters + 'L';
}

int virtual_stages(const Config& config) {
  return std::max(1, static_cast<int>(split_into_stages(config.parallel, config.model).stages.size()));
}

void shrink_layers(Config& config) {
  const int stages = virtual_stages(config);
  std::vector<std::string>& types = config.parallel.cp_comm_type;
  types = transports_of(config.parallel);
  const int wanted = static_cast<int>(types.size());
  config.model.num_layers = wanted > 1 ? wanted : std::min(config.model.num_layers, std::max(kLayers, stages));
  if (!config.model.hybrid_layer_pattern.empty()) shrink_pattern(config);
  shrink_stages(config, stages);
  RecomputeConfig& recompute = config.recompute;
  recompute.num_layers = std::min(recompute.num_layers, config.model.num_layers);
}

// Whether `small` and `large` things divide over `ranks` in the same way: evenly or not, with some for every
// rank or not.
bool divide_alike(int small, int large, int ranks) {
  return std::gcd(small, ranks) == std::gcd(large, ranks) && (small >= ranks) == (large >= ranks);
}

bool exchanges_heads(const ParallelConfig& parallel) {
  return std::ranges::any_of(parallel.cp_comm_type, [&](const std::string& type) {
    return head_ranks_of(transport_of(type), parallel.context_parallel_size, hierarchical_a(parallel)) > 1;
  });
}

// Key/value heads of a rank that shares `groups` heads, as far as it matters: several travel in two parts.
int parts_of(int groups, int ranks) { return std::min(groups / ranks, 2); }

void shrink_heads(Config& config) {
  ModelConfig& m = config.model;
  const ParallelConfig& p = config.parallel;
  std::vector<int> sharers = {p.context_parallel_size};
  for (const int size : p.hierarchical_context_parallel_sizes) sharers.push_back(size);
  const int tp = p.tensor_model_parallel_size, per_group = m.num_attention_heads / m.num_query_groups;
  const int groups = m.num_query_groups / tp;
  const bool in_parts = exchanges_heads(p);
  int fewer = std::min(2, groups);  // key/value heads of a tensor rank
  while (fewer < groups && !std::all_of(
                               sharers.begin(), sharers.end(),
                               [&](int ranks) {
                                 return divide_alike(fewer, groups, ranks) &&
                                        divide_alike(fewer * per_group, groups * per_group, ranks) &&
                                        (!in_parts || parts_of(fewer, ranks) == parts_of(groups, ranks));
                               })) {
    ++fewer;
  }
  m.num_query_groups = fewer * tp;
  m.num_attention_heads = m.num_query_groups * per_group;
  for (const int channels : {4, 8, 16, 32, 64, 128}) {
    if (channels >= m.kv_channels) break;
    const int turned = static_cast<int>(channels * m.rotary_percent);
    if (m.is_rotary() && (turned == 0 || turned % 2 != 0)) continue;
    m.kv_channels = channels;
    break;
  }
}

void shrink_widths(Config& config) {
  ModelConfig& m = config.model;
  const int tp = config.parallel.tensor_model_parallel_size, hidden = std::min(m.hidden_size, kHidden);
  // Activations of the same size in a narrower model.
  const double widening = std::sqrt(static_cast<double>(m.hidden_size) / hidden);
  config.precision.init_method_std =
      std::max(1e-4, std::round(config.precision.init_method_std * widening * 1e4) / 1e4);
  m.hidden_size = hidden;
  m.ffn_hidden_size = tp * std::min(m.ffn_hidden_size / tp, std::max(1, kFfn / tp));
  m.make_vocab_size_divisible_by = 2;
  m.padded_vocab_size = 0;
}

void shrink_sequence(Config& config) {
  ModelConfig& m = config.model;
  const int cp = config.parallel.context_parallel_size;
  const int unit = 2 * cp * config.parallel.tensor_model_parallel_size;
  const int least = std::max(kShortest, 2 * cp * kTokensOfChunk);
  const int shorter = (least + unit - 1) / unit * unit + m.seq_length % unit;
  const int before = m.seq_length;
  m.seq_length = std::min(before, shorter);
  m.max_position_embeddings = m.seq_length;
  for (int& side : m.window_size) {
    if (side > 0) side = std::max(1, static_cast<int>(std::lround(1.0 * side * m.seq_length / before)));
  }
}

void shrink_batch(Config& config, int replicas_before, int replicas) {
  BatchConfig& b = config.batch;
  const int micro_batches = b.global_batch_size / (b.micro_batch_size * replicas_before);
  // Two groups of the interleaved schedule, or one; without it some more than fill the pipeline.
  ParallelConfig& p = config.parallel;
  const int stages = p.pipeline_model_parallel_size;
  int most = stages == 1 ? kMicroBatches : stages + 1;
  if (stages > 1 && virtual_stages(config) > stages) {
    p.microbatch_group_size_per_virtual_pipeline_stage = stages;
    most = micro_batches < 2 * stages ? stages : 2 * stages;
  }
  BatchConfig small;
  small.micro_batch_size = std::min(b.micro_batch_size, kMicroBatch);
  small.global_batch_size = small.micro_batch_size * replicas * std::min(micro_batches, most);
  small.train_iters = kSteps;
  b = small;
}

void simplify(Config& config) {
  OptimizerConfig& o = config.optimizer;
  o.lr = 0.01;
  o.min_lr = o.lr_warmup_init = 0.0;
  o.lr_decay_style = LrDecayStyle::constant;
  o.lr_decay_iters = kSteps;
  o.lr_decay_samples = o.lr_warmup_iters = o.lr_warmup_samples = o.lr_wsd_decay_iters = o.lr_wsd_decay_samples = 0;
  o.lr_warmup_fraction.reset();
  config.precision.bf16 = config.precision.fp16 = false;
  config.precision.fp64 = true;
  config.parallel.distributed_backend = Backend::gloo;
  config.parallel.strict_megatron = false;  // the given configuration has passed; the small one need not
  config.checkpoint = {};
  config.evaluation.eval_iters = 0;
  config.logging = {};
  DataConfig data;
  data.mock_data = true;
  data.reset_position_ids = config.data.reset_position_ids;
  data.reset_attention_mask = config.data.reset_attention_mask;
  data.eod_mask_loss = config.data.eod_mask_loss;
  data.tokenizer_type = TokenizerType::null;
  data.vocab_size = kVocabulary;
  config.data = data;
}

// Of the options that people think in, those that differ.
std::vector<std::string> changes_between(const Config& given, const Config& small) {
  constexpr const char* kShown[] = {"--num-layers",
                                    "--hidden-size",
                                    "--num-attention-heads",
                                    "--num-query-groups",
                                    "--hybrid-layer-pattern",
                                    "--num-layers-per-virtual-pipeline-stage",
                                    "--num-virtual-stages-per-pipeline-rank",
                                    "--microbatch-group-size-per-virtual-pipeline-stage",
                                    "--decoder-first-pipeline-num-layers",
                                    "--decoder-last-pipeline-num-layers",
                                    "--account-for-embedding-in-pipeline-split",
                                    "--account-for-loss-in-pipeline-split",
                                    "--pipeline-model-parallel-layout",
                                    "--mamba-num-heads",
                                    "--mamba-num-groups",
                                    "--mamba-head-dim",
                                    "--mamba-state-dim",
                                    "--recompute-num-layers",
                                    "--kv-channels",
                                    "--ffn-hidden-size",
                                    "--seq-length",
                                    "--window-size",
                                    "--cp-comm-type",
                                    "--micro-batch-size",
                                    "--global-batch-size",
                                    "--train-iters",
                                    "--lr",
                                    "--lr-decay-style",
                                    "--init-method-std",
                                    "--bf16",
                                    "--fp16",
                                    "--fp64",
                                    "--tokenizer-type",
                                    "--vocab-size",
                                    "--mock-data"};
  std::vector<std::string> out;
  for (const char* name : kShown) {
    const Option* option = find_option(name);
    RT_CHECK(option != nullptr, "there is no option {}", name);
    const std::string before = option_value(*option, given), after = option_value(*option, small);
    if (before != after) out.push_back(fmt::format("{:<24} {} -> {}", name, before, after));
  }
  return out;
}

Config resolved(const Config& config, int world_size) {
  const Resolution out = resolve(config, world_size, config.data.vocab_size);
  RT_CHECK(out.faults().empty(), "the smaller configuration breaks rules that the given one keeps: {}",
           join(out.faults(), "; "));
  return out.valid();
}

}  // namespace

int hierarchical_a(const ParallelConfig& parallel) {
  const std::vector<int>& sizes = parallel.hierarchical_context_parallel_sizes;
  return sizes.empty() ? 0 : sizes.front();
}

std::vector<std::string> transports_of(const ParallelConfig& parallel) {
  std::vector<std::string> out;
  const auto add = [&](const std::string& type) {
    if (std::find(out.begin(), out.end(), type) == out.end()) out.push_back(type);
  };
  for (const std::string& type : parallel.cp_comm_type) {
    if (type != "auto") {
      add(type);
      continue;
    }
    for (const CpTransport choice : cp_transports()) {
      if (refusal_of(choice, hierarchical_a(parallel)).empty()) add(std::string(to_text(choice)));
    }
  }
  return out;
}

ShrunkConfig shrink_config(const Config& given, int world_size, bool drop_replicas) {
  const Config config = fill_defaults(given, world_size).config;
  const int replicas_before = data_parallel_size(config.parallel, world_size);
  const int replicas = drop_replicas ? std::min(replicas_before, kReplicas) : replicas_before;
  ShrunkConfig out{config, world_size / replicas_before * replicas, {}};
  shrink_layers(out.config);
  shrink_heads(out.config);
  shrink_widths(out.config);
  shrink_sequence(out.config);
  shrink_batch(out.config, replicas_before, replicas);
  simplify(out.config);
  out.config = resolved(out.config, out.world_size);
  out.changes = changes_between(config, out.config);
  if (replicas != replicas_before) {
    out.changes.push_back(fmt::format("{:<24} {} -> {}", "data-parallel ranks", replicas_before, replicas));
  }
  return out;
}

Config one_process(const Config& shrunk) {
  Config out = shrunk;
  const ParallelConfig& given = shrunk.parallel;
  out.parallel = {};
  out.recompute = {};  // so that the comparison is with a run that keeps everything
  out.parallel.distributed_backend = given.distributed_backend;
  out.parallel.proof_of_exchange = given.proof_of_exchange;
  out.model.padded_vocab_size = 0;
  return resolved(out, 1);
}

}  // namespace ringtron
