// Time steps and decays of the scan, once for all of its kernels; and states of parts joined to those of runs.
#include <cuda_runtime.h>

#include "ringtron/kernels/device/launch.cuh"
#include "ringtron/kernels/ssd_scan/ssd_step.cuh"
#include "ringtron/kernels/ssd_scan/ssd_tile.cuh"

namespace ringtron {
namespace {

constexpr int kWarps = 8;
constexpr float kLog2E = 1.4426950408889634f;

// Over the lanes, of both rows of a lane: `x` and `next` become sums from the first row on.
__device__ void sum_along(float& x, float& next) {
  const float own = x + next;
  float all = own;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const float before = __shfl_up_sync(0xffffffffu, all, static_cast<unsigned>(distance));
    if (ssd::lane() >= distance) all += before;
  }
  x += all - own;
  next = all;
}

// A warp has a chunk of one head, a lane two rows that follow each other.
template <class T>
__global__ void __launch_bounds__(32 * kWarps) steps_kernel(const __grid_constant__ SsdStepsParams p) {
  const int head = static_cast<int>(blockIdx.y) * kWarps + ssd::warp();
  if (head >= p.shape.heads) return;
  const SsdChunk chunk = p.shape.chunks[blockIdx.x];
  float t[2] = {}, l[2] = {};
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int row = 2 * ssd::lane() + k;
    if (row < chunk.rows) t[k] = ssd::time_step<T>(p.steps, chunk.row + row * p.shape.samples, head).value;
    l[k] = t[k] * p.steps.a[head] * kLog2E;
  }
  sum_along(l[0], l[1]);
  const float last = __shfl_sync(0xffffffffu, l[1], 31);
  const int last_document = ssd::document_of(chunk.starts, kSsdChunk - 1);
  float e[2], w[2];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int row = 2 * ssd::lane() + k, document = ssd::document_of(chunk.starts, row);
    e[k] = document == 0 ? power_of_two(l[k]) : 0.0f;
    w[k] = document == last_document && row < chunk.rows ? power_of_two(min(last - l[k], 0.0f)) : 0.0f;
  }
  float* const out = p.out + (blockIdx.x * static_cast<std::int64_t>(p.shape.heads) + head) * kSteps * kSsdChunk;
  const auto store = [out](SsdStep which, const float (&x)[2]) {
    *reinterpret_cast<float2*>(out + which * kSsdChunk + 2 * ssd::lane()) = float2{x[0], x[1]};
  };
  store(kStepT, t);
  store(kStepL, l);
  store(kStepE, e);
  store(kStepW, w);
}

// A block has some numbers of the states of one head, along the parts of a run.
__global__ void __launch_bounds__(256) join_kernel(const __grid_constant__ SsdJoinParams p) {
  const SsdRun run = p.runs[blockIdx.x];
  const std::int64_t initial = p.reverse ? run.final : run.initial, final = p.reverse ? run.initial : run.final;
  const int head = static_cast<int>(blockIdx.y);
  const std::int64_t at = blockIdx.z * std::int64_t{256} + threadIdx.x;
  if (at >= p.elements) return;
  float state = 0.0f, log2_decay = 0.0f;
  if (initial >= 0 && p.given != nullptr) state = p.given[(initial * p.heads + head) * p.elements + at];
  for (std::int64_t k = 0; k < run.parts; ++k) {
    const std::int64_t line = (run.part + (p.reverse ? run.parts - 1 - k : k)) * p.heads + head;
    if (p.entering != nullptr) p.entering[line * p.elements + at] = state;
    if (p.ends == nullptr) continue;
    state = power_of_two(p.log2_decay[line]) * state + p.ends[line * p.elements + at];
    log2_decay += p.log2_decay[line];
  }
  if (final < 0 || p.wanted == nullptr) return;
  p.wanted[(final * p.heads + head) * p.elements + at] = state;
  if (at == 0) p.log_decay[final * p.heads + head] = log2_decay / kLog2E;
}

}  // namespace

void ssd_steps_cuda(const SsdStepsParams& p, void* stream) {
  const dim3 grid(static_cast<unsigned>(p.shape.count), static_cast<unsigned>((p.shape.heads + kWarps - 1) / kWarps));
  launch(p.shape.type == Element::f16 ? steps_kernel<__half> : steps_kernel<__nv_bfloat16>, grid, dim3(32 * kWarps), 0,
         p, stream);
}

void ssd_join_cuda(const SsdJoinParams& p, void* stream) {
  const dim3 grid(static_cast<unsigned>(p.run_count), static_cast<unsigned>(p.heads),
                  static_cast<unsigned>((p.elements + 255) / 256));
  launch(join_kernel, grid, dim3(256), 0, p, stream);
}

}  // namespace ringtron
