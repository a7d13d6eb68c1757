// What of a model stays in memory for the whole run: weights, gradients, optimizer state, from the configuration alone.
#pragma once

#include <cstdint>
#include <string_view>

#include "ringtron/config/resolved_config.h"
#include "ringtron/models/model_spec.h"

namespace ringtron {

// "bf16", "fp16", "fp32", "fp64"; and bytes of one element of the model, and of gradients and optimizer state.
std::string_view model_type(const ResolvedConfig& config);
std::int64_t model_element_bytes(const ResolvedConfig& config);
std::int64_t state_element_bytes(const ResolvedConfig& config);
// These and --tensor-model-parallel-size, for the costs of modules.
RankSizes rank_sizes(const ResolvedConfig& config);

struct ParameterCount {
  std::int64_t whole = 0;            // of the whole model, with the padding rows of the vocabulary
  std::int64_t of_rank = 0;          // with a tied word embedding's copy on the last stage
  std::int64_t gradient_buffer = 0;  // elements, with its padding
  std::int64_t optimizer = 0;        // elements whose optimizer state a rank keeps
  std::int64_t moments = 0;          // elements of their moments together, of the rank that has most
  std::int64_t largest_matrix = 0;   // elements of the largest that Muon orthogonalises; 0: none
};

// Of the pipeline rank with most parameters. `replicas`: DP x CP, the ranks that sum gradients. ConfigError where a
// shape does not divide by TP.
ParameterCount count_parameters(const ResolvedConfig& config, int replicas);
// Of one pipeline rank of `model`, without `whole`: asked for every rank this takes time linear in the layers.
ParameterCount count_parameters(const ResolvedConfig& config, const ModelSpec& model, int replicas, int pipeline_rank);

// Bytes on one rank that stay for the whole run; activations come on top.
struct StateBytes {
  std::int64_t weights = 0;
  std::int64_t gradients = 0;
  std::int64_t main_weights = 0;  // beside the weights; 0: those are their own main weights
  std::int64_t moments = 0;       // AdamW's two, SGD's one, Muon's one of a hidden matrix
  std::int64_t sum() const { return weights + gradients + main_weights + moments; }
};
StateBytes state_bytes(const ResolvedConfig& config, const ParameterCount& count);

}  // namespace ringtron
