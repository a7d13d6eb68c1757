#include "ringtron/tools/check/describe_cost.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "ringtron/base/error.h"
#include "ringtron/base/machine_memory.h"
#include "ringtron/base/text.h"
#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/context_parallel/plan/transport.h"
#include "ringtron/context_parallel/schedule/lower.h"
#include "ringtron/context_parallel/schedule/transport_choice.h"
#include "ringtron/models/activation_bytes.h"
#include "ringtron/models/attention_shape.h"
#include "ringtron/models/memory_estimate.h"
#include "ringtron/models/model_spec.h"
#include "ringtron/tools/check/describe_scan.h"
#include "ringtron/tools/check/step_cost.h"

namespace ringtron {
namespace {

// Ranks of a context group whose plans are made: spread over it, fewer of large groups, whose plans take
// longer.
int planned_ranks(int ranks) { return std::min(ranks, std::clamp(8192 / ranks, 4, 64)); }

std::string amount(std::int64_t bytes) { return human_bytes(static_cast<std::uint64_t>(bytes)); }

// The configuration's layers with attention by their word of --cp-comm-type.
std::map<std::string, std::vector<int>> layers_by_word(const ResolvedConfig& config) {
  const auto& words = config->parallel.cp_comm_type;
  if (words.size() != 1 && std::ssize(words) != config->model.num_layers) {
    throw ConfigError("expected one --cp-comm-type, or one for each layer; correct the list");
  }
  std::map<std::string, std::vector<int>> layers;
  for (const LayerSpec& layer : layer_specs(config, {})) {
    const int i = layer.number;
    if (!has_attention(layer.kind)) continue;
    layers[words.at(words.size() == 1 ? 0 : static_cast<std::size_t>(i))].push_back(i);
  }
  return layers;
}

int hierarchical_a(const ResolvedConfig& config) {
  const auto& sizes = config->parallel.hierarchical_context_parallel_sizes;
  return sizes.empty() ? 0 : sizes.front();
}

// This machine need not have what the run will have.
bool on_gpu(const ResolvedConfig& config) { return config->parallel.distributed_backend != Backend::gloo; }

// What auto chooses with assumed speeds.
TransportChoice choice_of_auto(const ResolvedConfig& config, const PlanRequest& request, const AttentionShape& shape) {
  const DeviceSpeeds speeds = on_gpu(config) ? default_gpu_speeds() : default_cpu_speeds();
  return choose_transport({request, shape, hierarchical_a(config), speeds});
}

class ContextTraffic {
 public:
  explicit ContextTraffic(const ResolvedConfig& config)
      : config_(config), masks_{sample_mask(config)}, layout_(sample_layout(config)), shape_(attention_shape(config)) {}

  Lines describe(std::int64_t micro_batches) {
    if (layout_.ranks() == 1) return {"context parallelism: one rank, nothing is sent"};
    Lines lines;
    SentBytes step;
    for (const auto& [transport, layers] : layers_by_transport(lines)) {
      const TransportBytes most = most_bytes(transport);
      const std::int64_t calls = times(std::ssize(layers), micro_batches);
      step.forward += times(calls, most.forward);
      step.backward += times(calls, most.backward) + times(times(recomputed(layers), micro_batches), most.forward);
      lines.push_back(sent_line(fmt::format("context, {}, each of layers {}", to_text(transport), layers_text(layers)),
                                most.forward, most.backward));
      lines.push_back("  " + closed_form_text(transport, most));
    }
    if (lines.empty()) return {"context parallelism: no layer has attention"};
    lines.push_back(
        sent_line(fmt::format("context, per step of {} micro-batches", micro_batches), step.forward, step.backward));
    if (const std::string text = recomputed_text(); !text.empty()) lines.push_back("  " + text);
    return lines;
  }

 private:
  // How many of these layers send again what their forward sends, in the backward.
  std::int64_t recomputed(const std::vector<int>& layers) const {
    if (config_->recompute.cp_keep_kv) return 0;
    const std::vector<LayerSpec> specs = layer_specs(config_, {});
    return std::ranges::count_if(
        layers, [&](int layer) { return specs[static_cast<std::size_t>(layer)].recompute != LayerRecompute::none; });
  }

  std::string recomputed_text() const {
    if (std::ranges::none_of(layer_specs(config_, {}),
                             [](const LayerSpec& layer) { return layer.recompute != LayerRecompute::none; }))
      return "";
    return config_->recompute.cp_keep_kv ? "recomputed attention sends nothing: --cp-keep-kv"
                                         : "the backward sends what recomputed attention's forward sends once more";
  }

  // What `auto` would choose is told in `lines`.
  std::map<CpTransport, std::vector<int>> layers_by_transport(Lines& lines) const {
    std::map<CpTransport, std::vector<int>> layers;
    for (const auto& [word, with_it] : layers_by_word(config_)) {
      std::vector<int>& all = layers[word == "auto" ? choose(lines) : transport_of(word)];
      all.insert(all.end(), with_it.begin(), with_it.end());
      std::sort(all.begin(), all.end());
    }
    return layers;
  }

  CpTransport choose(Lines& lines) const {
    const TransportChoice choice = choice_of_auto(config_, {layout_, masks_}, shape_);
    lines.push_back(fmt::format("auto, with assumed speeds of a {} (training measures its own): {}",
                                on_gpu(config_) ? "GPU" : "CPU", to_string(choice)));
    return choice.transport;
  }

  // Of the rank that sends most.
  TransportBytes most_bytes(CpTransport transport) const {
    TransportBytes most;
    const int ranks = layout_.ranks(), planned = planned_ranks(ranks);
    for (int i = 0; i < planned; ++i) {
      const int rank = static_cast<int>(std::int64_t{i} * ranks / planned);
      const TransportPlan plan = make_transport_plan(transport, hierarchical_a(config_), {layout_, masks_}, rank);
      const TransportBytes bytes = bytes_of(lower(plan, {shape_.heads, shape_.groups}), layout_, rank, shape_);
      if (bytes.forward + bytes.backward > most.forward + most.backward) most = bytes;
    }
    return most;
  }

  std::string closed_form_text(CpTransport transport, const TransportBytes& most) const {
    const int ranks = layout_.ranks(), a = head_ranks_of(transport, ranks, hierarchical_a(config_));
    if (!masks_.front().dense()) return "no closed form: what is sent follows from the window";
    if (layout_.sequence_length() % ranks != 0) return "no closed form: the ranks hold unequal parts of the sequence";
    if (shape_.heads % a != 0 || shape_.groups % a != 0)
      return fmt::format("no closed form: {} query and {} key/value heads do not both divide by {} ranks", shape_.heads,
                         shape_.groups, a);
    const TransportBytes closed = closed_form_bytes(ranks, a, layout_.sequence_length(), shape_);
    return fmt::format("{} and {} bytes by plan, {} and {} by the closed form{}", most.forward, most.backward,
                       closed.forward, closed.backward, closed == most ? "" : ": they DIFFER");
  }

  const ResolvedConfig& config_;
  const std::vector<AttentionMask> masks_;
  const SequenceLayout layout_;
  const AttentionShape shape_;
};

void check_heads(const ResolvedConfig& config) {
  const ModelConfig& m = config->model;
  const int tp = config->parallel.tensor_model_parallel_size;
  if (m.num_query_groups > 0 && m.num_attention_heads % m.num_query_groups == 0 && m.num_attention_heads % tp == 0 &&
      m.num_query_groups % tp == 0) {
    return;
  }
  throw ConfigError(fmt::format("expected heads and query groups that TP {} divides, got {} and {}; change one of them",
                                tp, m.num_attention_heads, m.num_query_groups));
}

std::int64_t longest_shard(const ResolvedConfig& config) {
  const SequenceLayout layout = sample_layout(config);
  std::int64_t rows = 0;
  for (int rank = 0; rank < layout.ranks(); ++rank) rows = std::max(rows, layout.local_length(rank));
  return rows;
}

Lines describe_tensor_traffic(const ResolvedConfig& config, std::int64_t micro_batches) {
  if (config->parallel.tensor_model_parallel_size == 1) return {"tensor parallelism: one rank, nothing is sent"};
  const std::int64_t rows = longest_shard(config);
  const ModelSpec model = model_spec(config);
  const SentBytes ends = tensor_ends_bytes(config, rows);
  SentBytes most, step = ends;
  // Weight gradients that are made later need the gradients of other ranks' rows once more.
  const bool gathers_again = config->parallel.sequence_parallel && config->parallel.pipeline_model_parallel_size > 1 &&
                             config->parallel.pipeline_schedule == PipelineScheduleKind::zero_bubble;
  std::int64_t again = 0;  // layers that run their forward in the backward too
  for (const LayerSpec& spec : model.layers) {
    ModuleCosts costs = layer_costs(model, spec, rank_sizes(config));
    costs.backward_passes += gathers_again ? 1 : 0;
    const SentBytes layer = tensor_module_bytes(config, costs, rows);
    const bool twice = spec.recompute == LayerRecompute::whole;
    most = {std::max(most.forward, layer.forward), std::max(most.backward, layer.backward)};
    step.forward += layer.forward;
    ModuleCosts of_mlp;
    of_mlp.forward_passes = costs.mlp_forward_passes;
    step.backward += layer.backward + (twice                ? layer.forward
                                       : spec.recompute_mlp ? tensor_module_bytes(config, of_mlp, rows).forward
                                                            : 0);
    again += twice || spec.recompute_mlp ? 1 : 0;
  }
  Lines lines = {sent_line("tensor, each layer", most.forward, most.backward),
                 sent_line("tensor, embedding, output layer and loss", ends.forward, ends.backward),
                 sent_line(fmt::format("tensor, per step of {} micro-batches", micro_batches),
                           times(micro_batches, step.forward), times(micro_batches, step.backward))};
  if (again > 0)
    lines.push_back(
        fmt::format("  the backward of {} layers sends what their recomputed forward sends once more", again));
  return lines;
}

std::string moments_text(const ResolvedConfig& config) {
  switch (config->optimizer.optimizer) {
    case OptimizerType::adam:
      return "two moments";
    case OptimizerType::sgd:
      return "momentum";
    case OptimizerType::muon:
      return "momentum of hidden matrices, two moments of all else";
  }
  return "";
}

// Beside its state, when a step's activations are gone: the whole matrix with its parts, slices and update, and what
// the iteration makes.
std::string muon_line(const ResolvedConfig& config, std::int64_t elements) {
  const std::int64_t product =
      config->optimizer.muon_fp32_matmul_prec == MuonProducts::medium && !config->precision.fp64
          ? 2
          : state_element_bytes(config);
  return fmt::format("Muon: about {} more while a rank orthogonalises a matrix of {} elements, after the backward",
                     amount(elements * (5 * state_element_bytes(config) + 5 * product)), elements);
}

}  // namespace

// Of one GPU that is sold: 288 GB.
constexpr std::int64_t kLargestGpu = 288'000'000'000;

Lines describe_parameters(const ResolvedConfig& config, int replicas) {
  const ParameterCount count = count_parameters(config, replicas);
  const StateBytes bytes = state_bytes(config, count);
  const std::string_view state = config->precision.fp64 ? "fp64" : "fp32";
  Lines lines = {
      fmt::format("{} in all ({:.2f} billion), {} on each rank", count.whole, static_cast<double>(count.whole) / 1e9,
                  count.of_rank),
      fmt::format("on each rank: weights {} ({}), gradients {} ({}), optimizer {} ({}: {}{}{}); {} in all",
                  amount(bytes.weights), model_type(config), amount(bytes.gradients), state,
                  amount(bytes.main_weights + bytes.moments), state,
                  config->precision.fp16   ? "main weights and "
                  : bytes.main_weights > 0 ? "the rest of main weights and "
                                           : "",
                  moments_text(config),
                  config->parallel.use_distributed_optimizer ? fmt::format(", divided over {} ranks", replicas) : "",
                  amount(bytes.sum())),
      "the gradients' buffer is counted with its padding"};
  if (count.largest_matrix > 0) lines.push_back(muon_line(config, count.largest_matrix));
  if (bytes.sum() > kLargestGpu) {
    lines.push_back(fmt::format(
        "NOTE: that is more than any GPU holds ({}): raise --tensor-model-parallel-size or take fewer layers",
        amount(kLargestGpu)));
  }
  return lines;
}

// Of this machine, which need not be the one that trains.
void add_local_memory(const ResolvedConfig& config, std::int64_t peak, Lines& lines) {
  if (on_gpu(config) && peak > kLargestGpu) {
    lines.push_back(fmt::format("NOTE: that is more than any GPU holds ({}). Flags that help: {}", amount(kLargestGpu),
                                memory_advice(config, kLargestGpu)));
  }
  const std::optional<std::int64_t> available = memory_available();
  if (!available) return;
  if (peak <= *available) {
    lines.push_back(fmt::format("  on CPUs: this machine has {} free, room for {} such ranks", amount(*available),
                                *available / std::max<std::int64_t>(peak, 1)));
  } else {
    lines.push_back(fmt::format("  on CPUs: this machine has {} free, less than one rank needs. Flags that help: {}",
                                amount(*available), memory_advice(config, *available)));
  }
}

std::string describe_balance(const ResolvedConfig& config) {
  const std::vector<AttentionMask> masks = {sample_mask(config)};
  const SequenceLayout layout = sample_layout(config);
  const std::set<std::string> words(config->parallel.cp_comm_type.begin(), config->parallel.cp_comm_type.end());
  std::vector<CpTransport> transports;
  std::string text;
  for (const std::string& word : words) {
    if (word == "auto") {
      check_heads(config);
      transports.push_back(choice_of_auto(config, {layout, masks}, attention_shape(config)).transport);
    } else {
      transports.push_back(transport_of(word));
    }
    text +=
        fmt::format("{}{}{}", text.empty() ? "" : ", ", to_text(transports.back()), word == "auto" ? " (auto)" : "");
  }
  const int a = hierarchical_a(config);
  const bool shared =
      std::ranges::any_of(transports, [&](CpTransport t) { return head_ranks_of(t, layout.ranks(), a) > 1; });
  return fmt::format("largest share of attention / mean: {:.3f} by {}{}", area_imbalance(layout, masks, transports, a),
                     text, shared ? "; ranks that share heads have the positions of all of them" : "");
}

// "a layer keeps 2.0 MiB"; of a hybrid model each kind: "a Mamba layer keeps 1.1 MiB (layers 0-2)".
std::string kept_by_layers(const ActivationBytes& bytes) {
  std::vector<std::string> parts;
  for (const KindBytes& kind : bytes.kinds) {
    switch (kind.kind) {
      case LayerKind::transformer:
        parts.push_back(fmt::format("a layer keeps {}", amount(kind.kept)));
        continue;
      case LayerKind::attention:
        parts.push_back("an attention");
        break;
      case LayerKind::mlp:
        parts.push_back("an MLP");
        break;
      case LayerKind::mamba:
        parts.push_back("a Mamba");
        break;
    }
    parts.back() += fmt::format(" layer keeps {} (layers {})", amount(kind.kept), layers_text(kind.layers));
  }
  return join(parts, ", ");
}

// What --recompute-modules core_attn saves, which is less than its name promises.
std::string saved_by_core_attention(const ResolvedConfig& config, const ActivationBytes& bytes) {
  const std::vector<LayerSpec> specs = layer_specs(config, {});
  const auto count = std::ranges::count(specs, LayerRecompute::core_attention, &LayerSpec::recompute);
  const auto kind = std::ranges::find_if(bytes.kinds, [](const KindBytes& k) { return has_attention(k.kind); });
  if (count == 0 || kind == bytes.kinds.end()) return "";
  return fmt::format(
      "  recomputed attention (core_attn) keeps {} less in each of {} layers, its log-sum-exp: scores are never kept. "
      "--recompute-granularity full saves more",
      amount(kind->statistic), count);
}

Lines describe_memory(const ResolvedConfig& config) {
  check_heads(config);
  const MemoryEstimate need = estimate_memory(config);
  const ActivationBytes& bytes = need.activations;
  const std::int64_t state = need.state.sum();
  const bool is_pipeline = config->parallel.pipeline_model_parallel_size > 1;
  Lines lines;
  if (is_pipeline) {
    lines.push_back(fmt::format(
        "of pipeline rank {}, which needs most: {} micro-batches are under way; of one {}; the stages {} of all",
        need.pipeline_rank, bytes.in_flight, kept_by_layers(bytes), amount(bytes.layers)));
    if (bytes.left > 0) {
      lines.push_back(fmt::format("  of these, {} have weight gradients left, and each keeps {} for them", bytes.left,
                                  amount(bytes.left_by_one)));
    }
    if (bytes.loss > 0) lines.push_back(fmt::format("  the loss takes {} for a moment", amount(bytes.loss)));
  } else {
    lines.push_back(fmt::format("activations of one micro-batch: {}, {} layers {}; the loss takes {} for a moment",
                                kept_by_layers(bytes), config->model.num_layers, amount(bytes.layers),
                                amount(bytes.loss)));
  }
  if (const std::string saved = saved_by_core_attention(config, bytes); !saved.empty()) lines.push_back(saved);
  if (bytes.segment > 0) {
    lines.push_back(fmt::format("  layers are recomputed: the largest piece takes {} while it runs again{}",
                                amount(bytes.segment),
                                config->recompute.cp_keep_kv ? "; what --cp-keep-kv keeps comes on top" : ""));
  }
  if (const std::string note = evaluation_note(config, need); !note.empty()) lines.push_back("  " + note);
  lines.push_back(fmt::format("at the peak about {} on each rank, of that {} of model state",
                              amount(state + bytes.peak()), amount(state)));
  lines.push_back("  workspaces of kernels, buffers of messages and fragmentation come on top: leave a tenth free");
  add_local_memory(config, state + bytes.peak(), lines);
  if (bytes.segment > bytes.loss)
    lines.push_back("  and so do gradients inside the layer at work: leave another layer's worth or two");
  return lines;
}

Lines describe_traffic(const ResolvedConfig& config, int replicas, std::int64_t micro_batches) {
  check_heads(config);
  const int ranks = config->parallel.context_parallel_size, planned = planned_ranks(ranks);
  Lines lines = {fmt::format("bytes that one rank sends, of the rank that sends most{}; per layer: of one micro-batch",
                             planned < ranks ? fmt::format(" of {} spread over the group", planned) : "")};
  if (config->parallel.pipeline_model_parallel_size > 1)
    lines.push_back("  per step: of the pipeline's ranks together, of which each has the layers of its stages");
  for (std::string& line : ContextTraffic(config).describe(micro_batches)) lines.push_back(std::move(line));
  for (std::string& line : describe_scan_traffic(config, micro_batches)) lines.push_back(std::move(line));
  for (std::string& line : describe_tensor_traffic(config, micro_batches)) lines.push_back(std::move(line));
  lines.push_back(
      "  counted as rings: (t-1)/t of the data for a gather or a scattered sum, twice that for a sum that "
      "all get");
  if (replicas > 1) {
    const std::int64_t bytes = gradient_sum_bytes(config, count_parameters(config, replicas), replicas);
    lines.push_back(fmt::format("gradients{}, once per step, over {} replicas: {}",
                                config->parallel.use_distributed_optimizer ? " scattered and parameters gathered" : "",
                                replicas, amount(bytes)));
  }
  return lines;
}

}  // namespace ringtron
