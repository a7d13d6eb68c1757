// The learning rates of one step.
#pragma once

#include <optional>

namespace ringtron {

struct LearningRates {
  double lr = 0.0;
  std::optional<double> decoupled = {};  // of word embedding and output layer, where they have their own
};

}  // namespace ringtron
