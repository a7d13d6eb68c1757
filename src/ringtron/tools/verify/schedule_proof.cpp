#include "ringtron/tools/verify/schedule_proof.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/config/validate.h"
#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/context_parallel/schedule/schedule_check.h"
#include "ringtron/modules/layer_options.h"
#include "ringtron/tools/verify/shrink_config.h"

namespace ringtron {
namespace {

// A proof looks at every row on every rank that it comes to, and at every message of every pair of ranks.
constexpr std::int64_t kMostRows = std::int64_t{1} << 20;  // positions times ranks, of all proofs together
constexpr int kMostRanks = 64;
constexpr std::size_t kShownFaults = 5;

using Masks = std::vector<AttentionMask>;

// Documents of 1, `growth`, `growth` squared, ... positions, the last one cut.
std::vector<std::int64_t> some_documents(std::int64_t length, std::int64_t growth) {
  std::vector<std::int64_t> starts;
  std::int64_t position = 0;
  for (std::int64_t document = 1; position < length; document *= growth) {
    starts.push_back(position);
    position += document;
  }
  return starts;
}

// What micro-batches may look like: samples that are one document, and two of different documents.
std::vector<Masks> masks_of(const Config& config, std::int64_t length) {
  AttentionWindow window = attention_window(config.model);
  for (std::int64_t* side : {&window.left, &window.right}) {
    if (*side > 0) *side = std::max<std::int64_t>(1, *side * length / config.model.seq_length);
  }
  std::vector<Masks> kinds = {{{length, true, window}}};
  if (!config.data.reset_attention_mask) return kinds;
  Masks& documents = kinds.emplace_back();
  for (const std::int64_t growth : {2, 3}) documents.emplace_back(length, true, window, some_documents(length, growth));
  return kinds;
}

// That of the configuration, or a shorter one that divides over the ranks as it does.
std::int64_t proven_length(const Config& config, std::int64_t multiple, std::int64_t proofs) {
  const std::int64_t length = config.model.seq_length, ranks = config.parallel.context_parallel_size;
  const std::int64_t most = kMostRows / (ranks * proofs), unit = 2 * ranks * multiple;
  return length <= most ? length : std::max<std::int64_t>(1, most / unit) * unit + length % unit;
}

}  // namespace

std::string prove_schedules(const Config& given, int world_size) {
  const Config config = fill_defaults(given, world_size).config;
  const ParallelConfig& p = config.parallel;
  if (const std::string& letters = config.model.hybrid_layer_pattern;
      !letters.empty() && letters.find('*') == std::string::npos)
    return "no schedules to prove: no layer has attention";
  const int ranks = p.context_parallel_size, tp = p.tensor_model_parallel_size;
  if (ranks > kMostRanks)
    return fmt::format("schedules not proven: {} context-parallel ranks (at most {})", ranks, kMostRanks);
  const std::vector<std::string> words = transports_of(p);
  const std::int64_t multiple = p.sequence_parallel ? tp : 1;
  const std::int64_t proofs = std::ssize(words) * (config.data.reset_attention_mask ? 2 : 1);
  const std::int64_t length = proven_length(config, multiple, proofs);
  const std::string what = fmt::format("{} over {} rank{}", join(words, ", "), ranks, ranks == 1 ? "" : "s");
  std::int64_t operations = 0;
  for (const Masks& masks : masks_of(config, length)) {
    const SequenceLayout layout = make_layout(p.cp_layout, masks, ranks, multiple);
    for (const std::string& word : words) {
      const TransportProof proof =
          check_transport({layout, masks}, transport_of(word), hierarchical_a(p), config.model.num_attention_heads / tp,
                          config.model.num_query_groups / tp);
      operations += proof.operations;
      if (proof.faults.empty()) continue;
      const std::size_t shown = std::min(proof.faults.size(), kShownFaults);
      const std::vector<std::string> first(proof.faults.begin(), proof.faults.begin() + static_cast<long>(shown));
      throw InternalError(
          fmt::format("the schedules of --cp-comm-type {} over {} ranks are wrong, so nothing was run. "
                      "The first of {} faults:\n  {}",
                      word, ranks, proof.faults.size(), join(first, "\n  ")));
    }
  }
  const std::string at = length == config.model.seq_length
                             ? fmt::format("{} positions", length)
                             : fmt::format("{} of {} positions", length, config.model.seq_length);
  return fmt::format("schedules proven: {}, {}, {} operations", what, at, operations);
}

}  // namespace ringtron
