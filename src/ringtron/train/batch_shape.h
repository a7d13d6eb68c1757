// How the samples of one micro-batch are divided among the context-parallel ranks, and what their masks cost.
//
// Made once for each micro-batch, by the loader's thread, and shared by all layers.
#pragma once

#include <memory>
#include <span>

#include "ringtron/config/resolved_config.h"
#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/plan/transport.h"
#include "ringtron/data/micro_batch.h"

namespace ringtron {

struct BatchShape {
  std::shared_ptr<const SequenceShape> sequence;
  // Sum over the samples of (query, key) pairs that their masks have: s (s + 1) / 2 for a causal sample of s positions,
  // the sum of that over documents, less with a window.
  double attention_cells = 0.0;
  // Pairs of the context-parallel rank that has most, divided by the ranks' mean; under a2a ranks share heads, so it is
  // 1. With several transports, of the most uneven one.
  double area_imbalance = 1.0;
};

// `documents`: of each sample, or empty when every sample is one document. `transports`: those of the layers, as chosen
// (layer_transports.h); without any, area_imbalance is 1. A pure function of its arguments, so the same on all ranks of
// a context group. Any thread.
std::shared_ptr<const BatchShape> make_batch_shape(const ResolvedConfig& config, const DocumentStarts& documents,
                                                   std::span<const CpTransport> transports);

// Operations (models/model_spec.h) of a training step: of one global batch whose samples' masks have `attention_cells`
// pairs in all (BatchShape). `config` is a Job's.
double step_flops(const ResolvedConfig& config, double attention_cells);

// The same of a global batch without document masks.
double step_flops(const ResolvedConfig& config);

}  // namespace ringtron
