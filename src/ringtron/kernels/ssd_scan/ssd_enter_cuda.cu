// What enters parts, added to the states of their chunks, which were walked from zero. A decay leaves most chunks of
// most heads nothing of it, and those are not touched.
#include <cuda_runtime.h>

#include "ringtron/kernels/device/launch.cuh"
#include "ringtron/kernels/ssd_scan/ssd_tile.cuh"

namespace ringtron {
namespace {

using namespace ssd;

constexpr int kThreads = 256, kChunksOfBlock = 8;
constexpr int kEights = kSsdMostStates / 8, kRowsAtOnce = kThreads / kEights, kRows = kSsdMostSize / kRowsAtOnce;
constexpr float kGone = -126.0f;  // 2^x of less is no number that power_of_two knows

// Chunks are counted from where something enters.
template <bool kReverse>
struct Passage {
  const SsdEnterParams& p;
  SsdPart part;
  int head;

  __device__ std::int64_t chunk(std::int64_t step) const {
    return part.chunk + (kReverse ? part.chunks - 1 - step : step);
  }
  __device__ float log2_decay(std::int64_t step) const {
    if (p.shape.chunks[chunk(step)].starts != 0) return -INFINITY;
    return p.steps[((chunk(step) * p.shape.heads + head) * kSteps + kStepL) * kSsdChunk + kSsdChunk - 1];
  }
};

// Over the block, in all of its threads.
__device__ float block_total(float x) {
  __shared__ float of_warp[kThreads / 32];
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  if (lane() == 0) of_warp[warp()] = x;
  __syncthreads();
  x = 0.0f;
#pragma unroll
  for (int w = 0; w < kThreads / 32; ++w) x += of_warp[w];
  __syncthreads();
  return x;
}

// A thread has eight columns of some rows of the state.
struct Entering {
  float rows[kRows][8];
  int row, column;

  __device__ Entering(const SsdShape& shape, const float* from)
      : row(static_cast<int>(threadIdx.x) / kEights), column(static_cast<int>(threadIdx.x) % kEights * 8) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const bool there = row + i * kRowsAtOnce < shape.size && column < shape.states;
#pragma unroll
      for (int k = 0; k < 8; ++k) rows[i][k] = there ? from[(row + i * kRowsAtOnce) * shape.states + column + k] : 0.0f;
    }
  }

  __device__ bool is_zero() const {
    bool zero = true;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
#pragma unroll
      for (int k = 0; k < 8; ++k) zero = zero && rows[i][k] == 0.0f;
    }
    return zero;
  }

  template <class T>
  __device__ void add_to(T* state, float factor) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      uint4& eight = *reinterpret_cast<uint4*>(state + (row + i * kRowsAtOnce) * kSsdMostStates + column);
      std::uint32_t words[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const float2 pair = unpacked<T>(words[k]);
        words[k] = packed<T>(pair.x + factor * rows[i][2 * k], pair.y + factor * rows[i][2 * k + 1]);
      }
      eight = make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
};

// A block has some chunks of one part and head.
template <class T, bool kReverse>
__global__ void __launch_bounds__(kThreads) enter_kernel(const __grid_constant__ SsdEnterParams p) {
  const Passage<kReverse> passage{p, p.parts[blockIdx.x], static_cast<int>(blockIdx.y)};
  const std::int64_t first = std::int64_t{kChunksOfBlock} * blockIdx.z;
  const std::int64_t end = min(first + kChunksOfBlock, passage.part.chunks);
  if (first >= end) return;
  float log2_decay = 0.0f;
  for (std::int64_t step = threadIdx.x; step < first; step += kThreads) log2_decay += passage.log2_decay(step);
  log2_decay = block_total(log2_decay);
  if (log2_decay < kGone) return;
  const std::int64_t elements = std::int64_t{p.shape.size} * p.shape.states;
  const Entering entering(p.shape, p.entering + (blockIdx.x * std::int64_t{p.shape.heads} + passage.head) * elements);
  if (block_total(entering.is_zero() ? 0.0f : 1.0f) == 0.0f) return;  // of the beginning of a document
  for (std::int64_t step = first; step < end && log2_decay >= kGone; ++step) {
    const std::int64_t line = passage.chunk(step) * p.shape.heads + passage.head;
    entering.add_to(static_cast<T*>(p.chunk_states) + line * (kSsdMostSize * kSsdMostStates), power_of_two(log2_decay));
    log2_decay += passage.log2_decay(step);
  }
}

template <class T>
void launch_of(const SsdEnterParams& p, void* stream) {
  const dim3 grid(static_cast<unsigned>(p.part_count), static_cast<unsigned>(p.shape.heads),
                  static_cast<unsigned>((p.most_chunks + kChunksOfBlock - 1) / kChunksOfBlock));
  launch(p.reverse ? enter_kernel<T, true> : enter_kernel<T, false>, grid, dim3(kThreads), 0, p, stream);
}

}  // namespace

void ssd_enter_cuda(const SsdEnterParams& p, void* stream) {
  if (p.shape.type == Element::f16)
    launch_of<__half>(p, stream);
  else
    launch_of<__nv_bfloat16>(p, stream);
}

}  // namespace ringtron
