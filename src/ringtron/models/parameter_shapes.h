// The parameters of a model as names and shapes, without LibTorch: for tools that must answer before anything
// runs.
//
// The same list, in the same order, as the model registers; a test compares the two.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ringtron/config/config.h"
#include "ringtron/grid/shard_spec.h"

namespace ringtron {

struct ParameterShape {
  std::string name;
  ShardSpec shard;
  std::int64_t elements() const;                   // of the whole tensor
  std::int64_t local_elements(int tp_size) const;  // of one tensor rank; ConfigError if it does not divide
  bool operator==(const ParameterShape&) const = default;
};

// Of GptModel. `model` is resolved (config/validate.h) and has its padded vocabulary.
std::vector<ParameterShape> gpt_parameter_shapes(const ModelConfig& model);

}  // namespace ringtron
