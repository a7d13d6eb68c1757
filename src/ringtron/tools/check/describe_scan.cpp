#include "ringtron/tools/check/describe_scan.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "ringtron/base/text.h"
#include "ringtron/mamba_context_parallel/scan_bytes.h"
#include "ringtron/models/attention_shape.h"
#include "ringtron/models/model_spec.h"
#include "ringtron/tools/check/describe_layout.h"

namespace ringtron {
namespace {

// By way, their Mamba layers; of auto and any other word but a2a states are passed.
std::map<ScanWay, std::vector<int>> layers_by_way(const ResolvedConfig& config) {
  const auto& words = config->parallel.cp_comm_type;
  std::map<ScanWay, std::vector<int>> layers;
  for (const LayerSpec& layer : layer_specs(config, {})) {
    if (layer.kind != LayerKind::mamba) continue;
    const std::string& word = words.at(words.size() == 1 ? 0 : static_cast<std::size_t>(layer.number));
    layers[word == "auto" ? ScanWay::states : scan_way(transport_of(word))].push_back(layer.number);
  }
  return layers;
}

ScanMessages messages_of(const ResolvedConfig& config) {
  const MambaOptions mamba = mamba_options(config);
  const int tp = config->parallel.tensor_model_parallel_size;
  const AttentionShape shape = attention_shape(config);
  return {{mamba.heads / tp, mamba.head_size, mamba.groups / tp, mamba.state_size},
          shape.samples,
          mamba.conv_width - 1,
          shape.element_bytes,
          shape.sum_bytes};
}

}  // namespace

std::vector<std::string> describe_scan_traffic(const ResolvedConfig& config, std::int64_t micro_batches) {
  std::vector<std::string> lines;
  const SequenceLayout layout = sample_layout(config);
  if (layout.ranks() == 1) return lines;
  ScanBytes step;
  const std::vector<LayerSpec> specs = layer_specs(config, {});
  for (const auto& [way, layers] : layers_by_way(config)) {
    ScanBytes most;
    for (int rank = 0; rank < layout.ranks(); ++rank) {
      const ScanBytes bytes = scan_bytes(layout, way, messages_of(config), rank);
      if (bytes.forward + bytes.backward > most.forward + most.backward) most = bytes;
    }
    const auto again = std::ranges::count_if(
        layers, [&](int layer) { return specs[static_cast<std::size_t>(layer)].recompute == LayerRecompute::whole; });
    step.forward += times(std::ssize(layers) * micro_batches, most.forward);
    step.backward +=
        times(std::ssize(layers) * micro_batches, most.backward) + times(again * micro_batches, most.forward);
    lines.push_back(sent_line(
        fmt::format("Mamba, {}, each of layers {}", way == ScanWay::heads ? "heads" : "states", layers_text(layers)),
        most.forward, most.backward));
    if (way == ScanWay::states) lines.push_back("  states that are passed on: no length changes their bytes");
  }
  if (!lines.empty()) {
    lines.push_back(
        sent_line(fmt::format("Mamba, per step of {} micro-batches", micro_batches), step.forward, step.backward));
  }
  return lines;
}

std::string sent_line(const std::string& what, std::int64_t forward, std::int64_t backward) {
  return fmt::format("{:<44} forward {:>10}  backward {:>10}", what, human_bytes(static_cast<std::uint64_t>(forward)),
                     human_bytes(static_cast<std::uint64_t>(backward)));
}

std::string layers_text(const std::vector<int>& layers) {
  std::vector<std::string> parts;
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t end = i + 1;
    while (end < layers.size() && layers[end] == layers[end - 1] + 1) ++end;
    parts.push_back(end == i + 1 ? std::to_string(layers[i]) : fmt::format("{}-{}", layers[i], layers[end - 1]));
    i = end;
  }
  return join(parts, " ");
}

std::int64_t times(std::int64_t count, std::int64_t bytes) {
  std::int64_t product = 0;
  return __builtin_mul_overflow(count, bytes, &product) ? std::numeric_limits<std::int64_t>::max() / 8 : product;
}

}  // namespace ringtron
