// The loader of this rank's micro-batches over any dataset.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ringtron/context_parallel/plan/transport.h"
#include "ringtron/data/data_loader.h"
#include "ringtron/data/dataset.h"
#include "ringtron/data/dataset_split.h"
#include "ringtron/train/job.h"

namespace ringtron {

struct BatchSource {
  const Job& job;
  const Dataset& dataset;
  const std::vector<CpTransport>& transports;  // of each layer (layer_transports.h)
};

// Micro-batches from the first sample that is not consumed; each carries its BatchShape in made_from. All that `source`
// refers to must outlive the loader. Training ends with the data; validation and test start over, but for
// --full-validation, after whose last sample come samples that do not count. Micro-batches of validation and test have
// --eval-micro-batch-size samples.
std::unique_ptr<DataLoader> batch_loader(const BatchSource& source, Split split, std::int64_t consumed_samples);

}  // namespace ringtron
