// How far a run is: what a checkpoint keeps besides tensors.
#pragma once

#include <cstdint>

namespace ringtron {

struct Progress {
  std::int64_t iteration = 0;
  std::int64_t consumed_train_samples = 0;
  std::int64_t consumed_valid_samples = 0;
  std::int64_t skipped_samples =
      0;  // of consumed_train_samples: of steps that the loss scale let go, or --iterations-to-skip
};

}  // namespace ringtron
