// Floating point operations per second, as the throughput line tells them. How many a step needs: models/model_spec.h.
#pragma once

namespace ringtron {

// 10^12 operations per second and device.
double tflops_per_device(double step_flops, double step_seconds, int world_size);

}  // namespace ringtron
