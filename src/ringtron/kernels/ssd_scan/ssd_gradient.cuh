// What the gradient kernel of the scan keeps in shared memory, and what becomes of the sums along rows that its warps
// leave there for each head.
#pragma once

#include <cuda_runtime.h>

#include "ringtron/kernels/device/launch.cuh"
#include "ringtron/kernels/ssd_scan/ssd_step.cuh"
#include "ringtron/kernels/ssd_scan/ssd_tile.cuh"

namespace ringtron::ssd {

// Of one head and all 64 rows; warps that share rows add to places of their own. Names: ssd_composed.cpp.
struct RowSums {
  float seen[2][kSsdChunk];      // T_ij over the rows j that row i sees, by halves of j
  float seeing[4][kSsdChunk];    // T_ij over the rows i that see row j, by quarters of i
  float entering[2][kSsdChunk];  // what row i sees of the entering state, by halves of n
  float leaving[2][kSsdChunk];   // what the leaving state has of row j, by halves of p
  float inputs[2][kSsdChunk];    // du_j x_j, by halves of p
  float skipped[2][kSsdChunk];   // dy_j x_j, by halves of p
  float t[kSsdChunk];
  float through[8];  // what passes the chunk, by warps
};

constexpr int kGradientThreads = 256, kSixteens = kSsdChunk / 16;
constexpr int kHeadsAtOnce = kGradientThreads / 32;  // whose sums are kept until each warp finishes one of them

struct GradientStage {
  static constexpr int kBytes = 2 * SizeTile::kBytes + 2 * StateTile::kBytes + kSteps * kSsdChunk * 4;
  SizeTile x, dy;
  StateTile state, gradient;
  float* steps;

  __device__ explicit GradientStage(unsigned char* memory)
      : x{memory},
        dy{memory + SizeTile::kBytes},
        state{memory + 2 * SizeTile::kBytes},
        gradient{memory + 2 * SizeTile::kBytes + StateTile::kBytes},
        steps(reinterpret_cast<float*>(memory + 2 * SizeTile::kBytes + 2 * StateTile::kBytes)) {}
  __device__ float step(SsdStep which, int row) const { return steps[which * kSsdChunk + row]; }
};

struct GradientMemory {
  static constexpr int kBytes = 2 * StateTile::kBytes + SizeTile::kBytes + 2 * GradientStage::kBytes +
                                kHeadsAtOnce * static_cast<int>(sizeof(RowSums));
  StateTile B, C;
  SizeTile scores;  // [row i, row j]

  __device__ GradientMemory() {
    unsigned char* const memory = dynamic_shared<unsigned char>();
    B = {memory};
    C = {memory + StateTile::kBytes};
    scores = {memory + 2 * StateTile::kBytes};
  }
  // Of heads with even and with odd numbers.
  __device__ static GradientStage stage(int number) {
    return GradientStage(dynamic_shared<unsigned char>() + 2 * StateTile::kBytes + SizeTile::kBytes +
                         number * GradientStage::kBytes);
  }
  // Of one head of kHeadsAtOnce.
  __device__ static RowSums& sums(int number) {
    return reinterpret_cast<RowSums*>(dynamic_shared<unsigned char>() + 2 * StateTile::kBytes + SizeTile::kBytes +
                                      2 * GradientStage::kBytes)[number];
  }
};

// Warp w has rows 16 (w % 4) to 16 (w % 4) + 15 of results, and half w / 4 of their columns.
__device__ inline int own_sixteen() { return warp() % kSixteens; }
__device__ inline int own_half() { return warp() / kSixteens; }

__device__ inline float warp_total(float x) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffffu, x, distance);
  return x;
}

// Eight sums over the eight lanes that share columns of a fragment: lane 4 r + c gets the r-th.
__device__ inline float sums_of_eight(float (&x)[8]) {
#pragma unroll
  for (int count = 4; count > 0; count /= 2) {
    const bool upper = (lane() / 4 & count) != 0;
#pragma unroll
    for (int i = 0; i < count; ++i) {
      const float keep = upper ? x[count + i] : x[i], send = upper ? x[i] : x[count + i];
      x[i] = keep + __shfl_xor_sync(0xffffffffu, send, 4 * count);
    }
  }
  return x[0];
}

// Two rows a lane: x and next become sums from the lane's rows to the last.
__device__ inline void sum_to_end(float& x, float& next) {
  const float own = x + next;
  float all = own;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const float behind = __shfl_down_sync(0xffffffffu, all, static_cast<unsigned>(distance));
    if (lane() + distance < 32) all += behind;
  }
  next += all - own;
  x = all;
}

// x and next become sums over the rows before the lane's.
__device__ inline void sum_before(float& x, float& next) {
  const float own = x + next;
  float all = own;
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const float before = __shfl_up_sync(0xffffffffu, all, static_cast<unsigned>(distance));
    if (lane() >= distance) all += before;
  }
  next = all - own + x;
  x = all - own;
}

// By one warp: the gradients of dt, and this chunk's shares of those of a, d and dt_bias. With l_i in T_ij = dM_ij M_ij
// for i and for j, what row k's t a lets through is the sum over i >= k > j; what enters and leaves alike.
template <class T>
__device__ void finish_head(const SsdGradientParams& p, const SsdChunk& chunk, const RowSums& sums, int head) {
  float seen[2], kept[2], shares[3] = {};
  float through = 0.0f;
#pragma unroll
  for (int w = 0; w < 8; ++w) through += sums.through[w];
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int row = 2 * lane() + k;
    seen[k] = sums.seen[0][row] + sums.seen[1][row] + sums.entering[0][row] + sums.entering[1][row] -
              (sums.seeing[0][row] + sums.seeing[1][row] + sums.seeing[2][row] + sums.seeing[3][row]);
    kept[k] = sums.leaving[0][row] + sums.leaving[1][row];
  }
  sum_to_end(seen[0], seen[1]);
  sum_before(kept[0], kept[1]);
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    const int row = 2 * lane() + k;
    if (row >= chunk.rows) continue;
    const std::int64_t place = chunk.row + row * p.shape.samples;
    const float of_log = seen[k] + kept[k] + through;
    const float of_step = sums.inputs[0][row] + sums.inputs[1][row] + p.of_steps.a[head] * of_log;
    const float of_raw = of_step * time_step<T>(p.of_steps, place, head).slope;
    const std::uint32_t word = packed<T>(of_raw, 0.0f);
    static_cast<std::uint16_t*>(p.d_dt)[place * p.d_dt_stride + head] = static_cast<std::uint16_t>(word);
    shares[0] += of_log * sums.t[row];
    shares[1] += sums.skipped[0][row] + sums.skipped[1][row];
    shares[2] += of_raw;
  }
  float* const to = p.sums + (blockIdx.x * static_cast<std::int64_t>(p.shape.heads) + head) * 3;
#pragma unroll
  for (int k = 0; k < 3; ++k) {
    const float total = warp_total(shares[k]);
    if (lane() == 0) to[k] = total;
  }
}

}  // namespace ringtron::ssd
