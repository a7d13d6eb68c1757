#include "ringtron/telemetry/flops.h"

namespace ringtron {

double tflops_per_device(double step_flops, double step_seconds, int world_size) {
  return step_flops / (step_seconds * 1e12 * world_size);
}

}  // namespace ringtron
