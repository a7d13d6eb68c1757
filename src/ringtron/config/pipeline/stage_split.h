// How a model's layers are cut into the stages of a pipeline. Without LibTorch.
//
// The model is cut into PP * v virtual stages, consecutive in the order of the model: number s lies on pipeline rank
// s % PP as its chunk s / PP. v is 1 unless the flags ask for more.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "ringtron/config/config.h"

namespace ringtron {

// Layers [first, first + count) of a model, and the ends that stand with them.
struct StageRange {
  int first = 0;
  int count = 0;
  bool embedding = true;
  bool output = true;

  bool operator==(const StageRange&) const = default;
};

struct StageSplit {
  std::vector<StageRange> stages;  // virtual ones, in the order of the model; empty where something is wrong
  std::string fault;               // expected, got

  int virtual_stages_of_rank(int pipeline_ranks) const { return static_cast<int>(stages.size()) / pipeline_ranks; }
};

// From --pipeline-model-parallel-size, the flags of virtual stages, of uneven first and last stages, of embedding and
// loss as layers, and --pipeline-model-parallel-layout. `model`: with the number of layers filled in.
StageSplit split_into_stages(const ParallelConfig& parallel, const ModelConfig& model);

// Of these virtual stages those of one pipeline rank, in the order of the model.
std::vector<StageRange> stages_of_rank(std::span<const StageRange> stages, int rank, int pipeline_ranks);

}  // namespace ringtron
