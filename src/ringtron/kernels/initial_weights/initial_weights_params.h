// What the host tells the kernel of initial weights.
#pragma once

#include <cstdint>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

// Local elements [local, the next run's local) are the global ones from `global` on.
struct ElementRun {
  std::int64_t local, global;
};

struct InitialWeightsParams {
  void* out;     // [elements]
  double* wide;  // the same in fp64; null: `out` counts
  Element type;  // of `out`
  std::int64_t elements;
  const ElementRun* runs;  // on the device, by local
  int run_count;
  std::uint64_t key, stream;
  bool uniform;
  double scale;  // standard deviation, or bound
};

void initial_weights_cuda(const InitialWeightsParams& params, void* stream);

}  // namespace ringtron
