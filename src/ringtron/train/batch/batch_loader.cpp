#include "ringtron/train/batch/batch_loader.h"

#include "ringtron/train/batch_shape.h"

namespace ringtron {
namespace {

// What this rank reads of samples of one shape.
ReadPlan read_plan(std::shared_ptr<const BatchShape> shape, int rank) {
  ReadPlan plan;
  for (const PositionRange& range : shape->sequence->layout.of(rank)) plan.ranges.push_back({range.begin, range.end});
  plan.made_from = std::move(shape);
  return plan;
}

}  // namespace

std::unique_ptr<DataLoader> batch_loader(const BatchSource& source, Split split, std::int64_t consumed_samples) {
  const ResolvedConfig& config = source.job.config();
  const ParallelState& parallel = source.job.parallel();
  Sampler sampler;
  const bool is_whole = split == Split::valid && config->evaluation.full_validation;
  sampler.order = is_whole                                                 ? SampleOrder::whole
                  : config->data.dataloader_type == DataloaderType::cyclic ? SampleOrder::cyclic
                  : split == Split::train                                  ? SampleOrder::single
                                                                           : SampleOrder::repeated;
  sampler.dataset_size = source.dataset.size();
  sampler.micro_batch_size =
      split == Split::train ? config->batch.micro_batch_size : config->evaluation.eval_micro_batch_size;
  sampler.data_parallel_size = parallel.dp_size();
  sampler.data_parallel_rank = parallel.dp_rank();
  sampler.seed = static_cast<std::uint64_t>(config->precision.seed);
  MicroBatchOptions options;
  options.vocab_size = source.job.tokenizer().vocab_size();
  options.end_of_document = source.job.tokenizer().eod();
  options.mask_end_of_document = config->data.eod_mask_loss;
  options.reset_position_ids = config->data.reset_position_ids;
  options.find_documents = config->data.reset_attention_mask;
  // Without document masks all micro-batches share one shape.
  const auto& transports = source.transports;
  const auto fixed = options.find_documents ? nullptr : make_batch_shape(config, {}, transports);
  options.plan = [&config, &transports, fixed, rank = parallel.cp_rank()](const DocumentStarts& documents) {
    return read_plan(fixed ? fixed : make_batch_shape(config, documents, transports), rank);
  };
  return std::make_unique<DataLoader>(source.dataset, sampler, options, consumed_samples);
}

}  // namespace ringtron
