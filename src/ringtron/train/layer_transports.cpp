#include "ringtron/train/layer_transports.h"

#include <algorithm>
#include <optional>

#include "ringtron/base/log.h"
#include "ringtron/context_parallel/transport_measure.h"
#include "ringtron/data/micro_batch.h"
#include "ringtron/models/attention_shape.h"
#include "ringtron/modules/layer_options.h"
#include "ringtron/train/agreement.h"
#include "ringtron/train/batch_shape.h"
#include "ringtron/train/data_config.h"

namespace ringtron {
namespace {

// The documents of the first micro-batch, as a guess at those of all; empty where none are known.
DocumentStarts first_documents(const Job& job) {
  const ResolvedConfig& config = job.config();
  const bool has_data = !config->data.data_path.empty() || !config->data.train_data_path.empty();
  if (!config->data.reset_attention_mask || config->data.mock_data || !has_data) return {};
  const auto dataset =
      open_split(sources_of(config), Split::train, wanted_samples(config)[static_cast<std::size_t>(Split::train)], {});
  DocumentStarts documents;
  for (std::int64_t i = 0;
       dataset != nullptr && i < std::min<std::int64_t>(config->batch.micro_batch_size, dataset->size()); ++i) {
    std::vector<std::int32_t> tokens = dataset->sample(i);
    tokens.pop_back();  // the last label
    documents.push_back(document_starts_in(tokens, job.tokenizer().eod()));
  }
  return documents;
}

TransportChoice choose(const Job& job, const DocumentStarts& documents) {
  const ResolvedConfig& config = job.config();
  const auto shape = make_batch_shape(config, documents, {});
  std::vector<AttentionMask> masks;
  for (const auto& starts : documents) {
    masks.emplace_back(config->model.seq_length, /*causal=*/true, attention_window(config->model), starts);
  }
  if (masks.empty()) masks.push_back(sample_mask(config));
  const AttentionShape sizes = attention_shape(config);
  const AttentionUse use{config->model.seq_length, attention_window(config->model), config->data.reset_attention_mask,
                         config->precision.attention_dropout > 0.0};
  // Measured speeds may choose otherwise in the next run, and sum in another order.
  const DeviceSpeeds speeds =
      config->precision.deterministic_mode
          ? default_speeds(job.device())
          : measure_speeds(job.parallel().context(), sizes, use, job.compute_type(), job.device());
  const auto& levels = config->parallel.hierarchical_context_parallel_sizes;
  return choose_transport({{shape->sequence->layout, masks}, sizes, levels.empty() ? 0 : levels[0], speeds});
}

// Groups of context ranks may have measured other speeds: rank 0's word counts for all.
CpTransport choose_for_all(const Job& job) {
  DocumentStarts documents;
  // The others' choice is not asked for, and rank 0 makes the index of samples that they will find.
  run_collectively(job.world(), [&] {
    if (job.is_first_rank()) documents = first_documents(job);
  });
  const TransportChoice choice = choose(job, documents);
  if (job.is_first_rank()) {
    print_line("--cp-comm-type auto: {}", to_string(choice));
    if (!documents.empty()) {
      std::size_t count = 0;
      for (const auto& starts : documents) count += starts.size() + 1;
      print_line("--cp-comm-type auto: priced with the {} documents of the first micro-batch", count);
    } else if (job.config()->data.reset_attention_mask) {
      print_line("--cp-comm-type auto: no documents are known, the choice is that of one document a sample");
    }
  }
  return transport_of(gather_texts(job.world(), std::string(to_text(choice.transport)))[0]);
}

}  // namespace

std::vector<CpTransport> layer_transports(const Job& job) {
  const ResolvedConfig& config = job.config();
  const auto& words = config->parallel.cp_comm_type;
  std::vector<CpTransport> transports;
  std::optional<CpTransport> chosen;
  for (const LayerSpec& layer : layer_specs(config, {})) {
    const std::string& word = words.size() == 1 ? words[0] : words[static_cast<std::size_t>(layer.number)];
    if (word == "auto" && !has_attention(layer.kind)) {  // the default: a Mamba layer passes states on
      transports.push_back(layer.transport);
      continue;
    }
    if (word == "auto" && !chosen) chosen = choose_for_all(job);
    transports.push_back(word == "auto" ? *chosen : transport_of(word));
  }
  return transports;
}

}  // namespace ringtron
