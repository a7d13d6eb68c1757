// Outputs of the scan: a block of threads has a chunk of one group, whose scores C B^T all heads of the group share.
#include <cuda_runtime.h>

#include "ringtron/kernels/device/launch.cuh"
#include "ringtron/kernels/ssd_scan/ssd_tile.cuh"

namespace ringtron {
namespace {

using namespace ssd;

constexpr int kThreads = 128;  // warp w has rows 16 w to 16 w + 15
constexpr int kStageBytes = SizeTile::kBytes + StateTile::kBytes + kSteps * kSsdChunk * 4;
constexpr int kSharedBytes = 2 * kStageBytes + StateTile::kBytes;  // two stages and C; B lies where the second stage
static_assert(StateTile::kBytes <= kStageBytes);                   // is later

struct Stage {
  SizeTile x;
  StateTile state;
  float* steps;

  __device__ explicit Stage(int number) {
    unsigned char* const memory = dynamic_shared<unsigned char>() + number * kStageBytes;
    x = {memory};
    state = {memory + SizeTile::kBytes};
    steps = reinterpret_cast<float*>(memory + SizeTile::kBytes + StateTile::kBytes);
  }
};

__device__ StateTile tile_of_C() { return {dynamic_shared<unsigned char>() + 2 * kStageBytes}; }

// Bit k: the warp's rows see some of rows 16 k to 16 k + 15. Bits, not a bound of loops, which are to be unrolled.
__device__ int seen_sixteens() { return (2 << warp()) - 1; }

using Scores = Fragment<8>;  // of a warp's 16 rows

template <class T>
__device__ void begin_load(const SsdOutputParams& p, const SsdChunk& chunk, const Stage& stage, int head) {
  load_rows<kThreads>(stage.x, p.x, p.shape, chunk, head * p.shape.size, p.shape.size);
  const std::int64_t line = blockIdx.x * static_cast<std::int64_t>(p.shape.heads) + head;
  load_tile<kThreads>(stage.state, static_cast<const T*>(p.states) + line * (kSsdMostSize * kSsdMostStates),
                      kSsdMostStates, kSsdChunk, kSsdMostStates);
  load_steps(stage.steps, p.steps, blockIdx.x, p.shape.heads, head);
}

template <class T>
__device__ void make_scores(Scores& scores, const StateTile& B, const StateTile& C) {
  clear<8>(scores);
  const int sixteens = seen_sixteens();
#pragma unroll
  for (int k = 0; k < kSsdMostStates; k += 16) {
    Words c;
    left_of_rows(c, C, 16 * warp(), k);
#pragma unroll
    for (int n = 0; n < 8; n += 2) {
      if (sixteens >> (n / 2) & 1) {
        Words b;
        right_of_rows(b, B, 8 * n, k);
        multiply_pair<T>(scores[n], scores[n + 1], c, b);
      }
    }
  }
}

// Scores of 16 columns from 16 k on, times decays and time steps, as the left side of a product. `first`: what the
// lane's rows see first.
template <class T>
__device__ void weighted_scores(Words& a, const Scores& scores, const float* steps, const int (&first)[2], int k) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int half = i % 2, n = 2 * k + i / 2, column = 8 * n + column_of(), row = 16 * warp() + row_of(half);
    const float l = steps[kStepL * kSsdChunk + row];
    float weighted[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const float decay = power_of_two(min(l - steps[kStepL * kSsdChunk + column + e], 0.0f));
      const bool seen = column + e <= row && column + e >= first[half];
      weighted[e] = seen ? scores[n][2 * half + e] * decay * steps[kStepT * kSsdChunk + column + e] : 0.0f;
    }
    a[i] = packed<T>(weighted[0], weighted[1]);
  }
}

template <class T>
__device__ void output_of_head(const SsdOutputParams& p, const SsdChunk& chunk, const Stage& stage,
                               const Scores& scores, int head) {
  Fragment<8> y;
  clear<8>(y);
#pragma unroll 1  // else addresses take the registers
  for (int k = 0; k < kSsdMostStates; k += 16) {
    Words c;
    left_of_rows(c, tile_of_C(), 16 * warp(), k);
#pragma unroll
    for (int n = 0; n < 8; n += 2) {
      Words b;
      right_of_rows(b, stage.state, 8 * n, k);
      multiply_pair<T>(y[n], y[n + 1], c, b);
    }
  }
  const float d = p.d[head];
  const int row0 = 16 * warp() + row_of(0), row1 = row0 + 8;
  const float e0 = stage.steps[kStepE * kSsdChunk + row0], e1 = stage.steps[kStepE * kSsdChunk + row1];
#pragma unroll
  for (int n = 0; n < 8; ++n) {
    const float2 x0 = unpacked<T>(stage.x.word(row0, 8 * n + column_of()));
    const float2 x1 = unpacked<T>(stage.x.word(row1, 8 * n + column_of()));
    y[n][0] = e0 * y[n][0] + d * x0.x;
    y[n][1] = e0 * y[n][1] + d * x0.y;
    y[n][2] = e1 * y[n][2] + d * x1.x;
    y[n][3] = e1 * y[n][3] + d * x1.y;
  }
  const int sixteens = seen_sixteens();
  const int first[2] = {first_seen(chunk.starts, row0), first_seen(chunk.starts, row1)};
#pragma unroll
  for (int k = 0; k < kSsdChunk / 16; ++k) {
    if (sixteens >> k & 1) {
      Words a;
      weighted_scores<T>(a, scores, stage.steps, first, k);
#pragma unroll
      for (int n = 0; n < 8; n += 2) {
        Words b;
        right_of_columns(b, stage.x, 16 * k, 8 * n);
        multiply_pair<T>(y[n], y[n + 1], a, b);
      }
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = 16 * warp() + row_of(half);
    T* const to = static_cast<T*>(p.y) + ((chunk.row + row * p.shape.samples) * p.shape.heads + head) * p.shape.size;
#pragma unroll
    for (int n = 0; n < 8; n += 4) store_eights<T>(row < chunk.rows ? to : nullptr, 8 * n, p.shape.size, &y[n], half);
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 3) output_kernel(const __grid_constant__ SsdOutputParams p) {
  const HeadRange heads(p.shape, p.splits);
  if (heads.first == heads.end) return;
  const SsdChunk chunk = p.shape.chunks[blockIdx.x];
  const Stage first(0);
  const StateTile B{dynamic_shared<unsigned char>() + kStageBytes}, C = tile_of_C();
  load_rows<kThreads>(B, p.B, p.shape, chunk, heads.group * p.shape.states, p.shape.states);
  load_rows<kThreads>(C, p.C, p.shape, chunk, heads.group * p.shape.states, p.shape.states);
  end_copies();
  begin_load<T>(p, chunk, first, heads.first);
  end_copies();
  wait_for_copies<1>();
  __syncthreads();
  Scores scores;
  make_scores<T>(scores, B, C);
  for (int head = heads.first; head < heads.end; ++head) {
    const int stage = (head - heads.first) % 2;
    wait_for_copies<0>();
    __syncthreads();  // also: all are done with the other stage
    if (head + 1 < heads.end) begin_load<T>(p, chunk, Stage(1 - stage), head + 1);
    end_copies();
    output_of_head<T>(p, chunk, Stage(stage), scores, head);
  }
}

}  // namespace

void ssd_output_cuda(const SsdOutputParams& p, void* stream) {
  launch(p.shape.type == Element::f16 ? output_kernel<__half> : output_kernel<__nv_bfloat16>,
         dim3(static_cast<unsigned>(p.shape.count), static_cast<unsigned>(p.shape.groups * p.splits)), dim3(kThreads),
         kSharedBytes, p, stream);
}

}  // namespace ringtron
