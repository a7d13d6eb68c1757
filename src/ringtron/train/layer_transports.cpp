#include "ringtron/train/layer_transports.h"

#include <optional>

#include "ringtron/base/log.h"
#include "ringtron/context_parallel/transport_measure.h"
#include "ringtron/models/attention_shape.h"
#include "ringtron/modules/attention_config.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/batch_shape.h"

namespace ringtron {
namespace {

// What is priced has one document a sample: which documents will come is not known yet.
TransportChoice choose(const Job& job, const Config& config) {
  const auto shape = make_batch_shape(config, {});
  const std::vector<AttentionMask> masks = {
      AttentionMask(config.model.seq_length, /*causal=*/true, attention_window(config.model))};
  const AttentionShape sizes = attention_shape(config, job.device().is_cuda());
  const AttentionUse use{config.model.seq_length, attention_window(config.model),
                         config.data.reset_attention_mask, config.precision.attention_dropout > 0.0};
  // Measured speeds may choose otherwise in the next run, and sum in another order.
  const DeviceSpeeds speeds =
      config.precision.deterministic_mode
          ? default_speeds(job.device())
          : measure_speeds(job.parallel().context(), sizes, use, job.compute_type(), job.device());
  const auto& levels = config.parallel.hierarchical_context_parallel_sizes;
  return choose_transport({{shape->sequence->layout, masks},
                           sizes,
                           levels.empty() ? 0 : levels[0],
                           speeds.link,
                           speeds.attention});
}

// Groups of context ranks may have measured other speeds: rank 0's word counts for all.
CpTransport choose_for_all(const Job& job, const Config& config) {
  const TransportChoice choice = choose(job, config);
  if (job.is_first_rank()) {
    print_line("--cp-comm-type auto: {}", to_string(choice));
    if (config.data.reset_attention_mask) {
      print_line(
          "--cp-comm-type auto: documents are not priced, the choice is that of one document a sample");
    }
  }
  return transport_of(gather_texts(job.world(), std::string(to_text(choice.transport)))[0]);
}

}  // namespace

std::vector<CpTransport> layer_transports(const Job& job, const Config& config) {
  const auto& words = config.parallel.cp_comm_type;
  std::vector<CpTransport> transports;
  std::optional<CpTransport> chosen;
  for (int layer = 0; layer < config.model.num_layers; ++layer) {
    const std::string& word = words.size() == 1 ? words[0] : words[static_cast<std::size_t>(layer)];
    if (word == "auto" && !chosen) chosen = choose_for_all(job, config);
    transports.push_back(word == "auto" ? *chosen : transport_of(word));
  }
  return transports;
}

}  // namespace ringtron
