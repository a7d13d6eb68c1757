// Gradients of the scan's inputs: a block of threads has a chunk of one group. Of its heads one after the other is in
// shared memory; the gradients of B and C, and the scores' gradients that they are also made of, add up in registers
// over the heads. Formulas and names: ssd_composed.cpp.
#include <cuda_runtime.h>

#include "ringtron/kernels/ssd_scan/ssd_gradient.cuh"

namespace ringtron {
namespace {

using namespace ssd;

constexpr int kThreads = kGradientThreads;

// 16 rows of a block's results, and half of their columns.
using HalfScores = Fragment<4>;  // [row i, 32 rows j]
using HalfStates = Fragment<8>;  // [row, 64 columns]

// What adds up over heads, and what heads have in common.
struct OverHeads {
  HalfScores products, gradients;  // C B^T; the sum of dM o P
  HalfStates dB, dC;
};

template <class T>
__device__ void begin_load(const SsdGradientParams& p, const SsdChunk& chunk, const GradientStage& stage, int head) {
  load_rows<kThreads>(stage.x, p.x, p.shape, chunk, head * p.shape.size, p.shape.size);
  load_rows<kThreads>(stage.dy, p.dy, p.shape, chunk, head * p.shape.size, p.shape.size);
  const std::int64_t first =
      (blockIdx.x * static_cast<std::int64_t>(p.shape.heads) + head) * (kSsdMostSize * kSsdMostStates);
  load_tile<kThreads>(stage.state, static_cast<const T*>(p.states) + first, kSsdMostStates, kSsdChunk, kSsdMostStates);
  load_tile<kThreads>(stage.gradient, static_cast<const T*>(p.gradients) + first, kSsdMostStates, kSsdChunk,
                      kSsdMostStates);
  load_steps(stage.steps, p.steps, blockIdx.x, p.shape.heads, head);
}

// 16 rows of `a` times 32 rows of `b`. Half of the numbers are not needed, but to branch around them costs more.
template <class T, int kColumns>
__device__ void product_of_rows(HalfScores& c, const Tile<kColumns>& a, const Tile<kColumns>& b) {
  clear<4>(c);
#pragma unroll
  for (int k = 0; k < kColumns; k += 16) {
    Words left;
    left_of_rows(left, a, 16 * own_sixteen(), k);
#pragma unroll
    for (int n = 0; n < 4; n += 2) {
      Words right;
      right_of_rows(right, b, 32 * own_half() + 8 * n, k);
      multiply_pair<T>(c[n], c[n + 1], left, right);
    }
  }
}

// Of one head: scores to shared memory, gradients of scores added, sums of T along rows and columns.
template <class T>
__device__ void pass_scores(const GradientStage& stage, const GradientMemory& memory, RowSums& sums, OverHeads& over,
                            std::uint64_t starts) {
  HalfScores d;  // dy x^T
  product_of_rows<T>(d, stage.dy, stage.x);
  const int row0 = 16 * own_sixteen() + row_of(0), row1 = row0 + 8;
  const int first[2] = {first_seen(starts, row0), first_seen(starts, row1)};
  const float l[2] = {stage.step(kStepL, row0), stage.step(kStepL, row1)};
  float of_row[2] = {}, of_column[8];
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const int column = 32 * own_half() + 8 * n + column_of();
    float scores[4], products[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int half = e / 2, row = half == 0 ? row0 : row1, j = column + e % 2;
      const bool seen = j <= row && j >= first[half];
      const float decay = seen ? power_of_two(min(l[half] - stage.step(kStepL, j), 0.0f)) : 0.0f;
      const float gradient = d[n][e] * decay * stage.step(kStepT, j);
      scores[e] = over.products[n][e] * decay;
      products[e] = over.products[n][e] * gradient;
      over.gradients[n][e] += gradient;
      of_row[half] += products[e];
    }
    of_column[2 * n] = products[0] + products[2];
    of_column[2 * n + 1] = products[1] + products[3];
    memory.scores.word(row0, column) = packed<T>(scores[0], scores[1]);
    memory.scores.word(row1, column) = packed<T>(scores[2], scores[3]);
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = sum_of_four(of_row[half]);
    if (lane() % 4 == 0) sums.seen[own_half()][half == 0 ? row0 : row1] = sum;
  }
  const int which = lane() / 4;
  sums.seeing[own_sixteen()][32 * own_half() + which / 2 * 8 + column_of() + which % 2] = sums_of_eight(of_column);
}

// Of one head: 16 rows of dx, 32 of its columns.
template <class T>
__device__ void pass_inputs(const SsdGradientParams& p, const SsdChunk& chunk, const GradientStage& stage,
                            const GradientMemory& memory, RowSums& sums, int head) {
  HalfScores direct, stored;  // through the rows that see these, through the leaving state
  clear<4>(direct);
  clear<4>(stored);
  const int column0 = 32 * own_half();
#pragma unroll
  for (int k = 0; k < kSixteens; ++k) {
    Words left;
    left_of_columns(left, memory.scores, 16 * k, 16 * own_sixteen());
#pragma unroll
    for (int n = 0; n < 4; n += 2) {
      Words right;
      right_of_columns(right, stage.dy, 16 * k, column0 + 8 * n);
      multiply_pair<T>(direct[n], direct[n + 1], left, right);
    }
  }
#pragma unroll 2
  for (int k = 0; k < kSsdMostStates; k += 16) {
    Words left;
    left_of_rows(left, memory.B, 16 * own_sixteen(), k);
#pragma unroll
    for (int n = 0; n < 4; n += 2) {
      Words right;
      right_of_rows(right, stage.gradient, column0 + 8 * n, k);
      multiply_pair<T>(stored[n], stored[n + 1], left, right);
    }
  }
  const float d = p.d[head];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = 16 * own_sixteen() + row_of(half);
    const float t = stage.step(kStepT, row), w = stage.step(kStepW, row);
    float inputs = 0.0f, leaving = 0.0f, skipped = 0.0f;
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const float2 x = unpacked<T>(stage.x.word(row, column0 + 8 * n + column_of()));
      const float2 dy = unpacked<T>(stage.dy.word(row, column0 + 8 * n + column_of()));
      const float kept0 = w * stored[n][2 * half], kept1 = w * stored[n][2 * half + 1];
      const float du0 = direct[n][2 * half] + kept0, du1 = direct[n][2 * half + 1] + kept1;
      inputs += du0 * x.x + du1 * x.y;
      leaving += (kept0 * x.x + kept1 * x.y) * t;
      skipped += dy.x * x.x + dy.y * x.y;
      direct[n][2 * half] = t * du0 + d * dy.x;
      direct[n][2 * half + 1] = t * du1 + d * dy.y;
    }
    inputs = sum_of_four(inputs);
    leaving = sum_of_four(leaving);
    skipped = sum_of_four(skipped);
    if (lane() % 4 == 0) {
      sums.inputs[own_half()][row] = inputs;
      sums.leaving[own_half()][row] = leaving;
      sums.skipped[own_half()][row] = skipped;
      sums.t[row] = t;
    }
    T* const to = static_cast<T*>(p.dx) + (chunk.row + row * p.shape.samples) * p.dx_stride + head * p.shape.size;
    store_eights<T>(row < chunk.rows ? to : nullptr, column0, p.shape.size, direct, half);
  }
}

// The sum of the products of two words' numbers.
template <class T>
__device__ float product_of_words(std::uint32_t a, std::uint32_t b) {
  const float2 x = unpacked<T>(a), y = unpacked<T>(b);
  return x.x * y.x + x.y * y.y;
}

// Of one head and 32 columns of the states from `column` on: what C's rows see of the entering state, what B's rows
// leave to the gradient; added to eights kFirst to kFirst + 3 of this warp's sums.
template <class T, int kFirst>
__device__ void pass_states(const GradientStage& stage, const StateTile& C, OverHeads& over, float (&entering)[2],
                            float& through) {
  const int column = 64 * own_half() + 8 * kFirst, row = 16 * own_sixteen();
  HalfScores seen, left;
  clear<4>(seen);
  clear<4>(left);
#pragma unroll
  for (int k = 0; k < kSixteens; ++k) {
    Words dy, x;
    left_of_rows(dy, stage.dy, row, 16 * k);
    left_of_rows(x, stage.x, row, 16 * k);
#pragma unroll
    for (int n = 0; n < 4; n += 2) {
      Words state, gradient;
      right_of_columns(state, stage.state, 16 * k, column + 8 * n);
      right_of_columns(gradient, stage.gradient, 16 * k, column + 8 * n);
      multiply_pair<T>(seen[n], seen[n + 1], dy, state);
      multiply_pair<T>(left[n], left[n + 1], x, gradient);
      if (k == own_sixteen()) {  // each number once in the block
#pragma unroll
        for (int i = 0; i < 4; ++i) through += product_of_words<T>(state[i], gradient[i]);
      }
    }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int own = row + row_of(half);
    const float e = stage.step(kStepE, own), w = stage.step(kStepW, own) * stage.step(kStepT, own);
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      const float2 c = unpacked<T>(C.word(own, column + 8 * n + column_of()));
      const float s0 = e * seen[n][2 * half], s1 = e * seen[n][2 * half + 1];
      entering[half] += s0 * c.x + s1 * c.y;
      over.dC[kFirst + n][2 * half] += s0;
      over.dC[kFirst + n][2 * half + 1] += s1;
      over.dB[kFirst + n][2 * half] += w * left[n][2 * half];
      over.dB[kFirst + n][2 * half + 1] += w * left[n][2 * half + 1];
    }
  }
}

template <class T>
__device__ void pass_states(const GradientStage& stage, const StateTile& C, RowSums& sums, OverHeads& over) {
  float entering[2] = {}, through = 0.0f;
  pass_states<T, 0>(stage, C, over, entering, through);
  pass_states<T, 4>(stage, C, over, entering, through);
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = sum_of_four(entering[half]);
    if (lane() % 4 == 0) sums.entering[own_half()][16 * own_sixteen() + row_of(half)] = sum;
  }
  through = warp_total(through) * stage.step(kStepE, kSsdChunk - 1);
  if (lane() == 0) sums.through[warp()] = through;
}

// dC += G B and dB += G^T C, with G the sum over heads of the scores' gradients.
template <class T>
__device__ void pass_common(const GradientMemory& memory, OverHeads& over) {
#pragma unroll
  for (int n = 0; n < 4; ++n) {
    const int row = 16 * own_sixteen() + row_of(0), column = 32 * own_half() + 8 * n + column_of();
    memory.scores.word(row, column) = packed<T>(over.gradients[n][0], over.gradients[n][1]);
    memory.scores.word(row + 8, column) = packed<T>(over.gradients[n][2], over.gradients[n][3]);
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kSixteens; ++k) {
    Words rows, columns;
    left_of_rows(rows, memory.scores, 16 * own_sixteen(), 16 * k);
    left_of_columns(columns, memory.scores, 16 * k, 16 * own_sixteen());
#pragma unroll
    for (int n = 0; n < 8; n += 2) {
      Words right;
      right_of_columns(right, memory.B, 16 * k, 64 * own_half() + 8 * n);
      multiply_pair<T>(over.dC[n], over.dC[n + 1], rows, right);
      right_of_columns(right, memory.C, 16 * k, 64 * own_half() + 8 * n);
      multiply_pair<T>(over.dB[n], over.dB[n + 1], columns, right);
    }
  }
}

// This warp's rows of dB or dC.
template <class T>
__device__ void store_shared(const SsdGradientParams& p, const SsdChunk& chunk, void* all, std::int64_t row_stride,
                             int group, const HalfStates& x) {
  const int column0 = 64 * own_half();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = 16 * own_sixteen() + row_of(half);
    const bool there = row < chunk.rows;
    const std::int64_t place = chunk.row + row * p.shape.samples;
    if (p.splits == 1) {
      T* const to = static_cast<T*>(all) + place * row_stride + group * p.shape.states;
#pragma unroll
      for (int n = 0; n < 8; n += 4)
        store_eights<T>(there ? to : nullptr, column0 + 8 * n, p.shape.states, &x[n], half);
      continue;
    }
    const std::int64_t split = blockIdx.y % static_cast<unsigned>(p.splits);
    float* const to =
        static_cast<float*>(all) + ((split * p.all_rows + place) * p.shape.groups + group) * p.shape.states;
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      const int column = column0 + 8 * n + column_of();
      if (there && column < p.shape.states)
        *reinterpret_cast<float2*>(to + column) = float2{x[n][2 * half], x[n][2 * half + 1]};
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads, 1) gradient_kernel(const __grid_constant__ SsdGradientParams p) {
  const HeadRange heads(p.shape, p.splits);
  const SsdChunk chunk = p.shape.chunks[blockIdx.x];
  const GradientMemory memory;
  load_rows<kThreads>(memory.B, p.B, p.shape, chunk, heads.group * p.shape.states, p.shape.states);
  load_rows<kThreads>(memory.C, p.C, p.shape, chunk, heads.group * p.shape.states, p.shape.states);
  if (heads.first < heads.end) begin_load<T>(p, chunk, memory.stage(0), heads.first);
  end_copies();
  wait_for_copies<0>();
  __syncthreads();
  OverHeads over;
  clear<4>(over.gradients);
  clear<8>(over.dB);
  clear<8>(over.dC);
  product_of_rows<T>(over.products, memory.C, memory.B);
  for (int head = heads.first; head < heads.end; ++head) {
    const int number = (head - heads.first) % kHeadsAtOnce;
    const GradientStage stage = memory.stage(number % 2);
    RowSums& sums = memory.sums(number);
    wait_for_copies<0>();
    __syncthreads();  // also: all are done with the head before
    if (head + 1 < heads.end) begin_load<T>(p, chunk, memory.stage(1 - number % 2), head + 1);
    end_copies();
    pass_scores<T>(stage, memory, sums, over, chunk.starts);
    __syncthreads();
    pass_inputs<T>(p, chunk, stage, memory, sums, head);
    pass_states<T>(stage, memory.C, sums, over);
    if (number < kHeadsAtOnce - 1 && head + 1 < heads.end) continue;
    __syncthreads();
    if (warp() <= number) finish_head<T>(p, chunk, memory.sums(warp()), head - number + warp());
    __syncthreads();
  }
  pass_common<T>(memory, over);
  store_shared<T>(p, chunk, p.dB, p.dB_stride, heads.group, over.dB);
  store_shared<T>(p, chunk, p.dC, p.dC_stride, heads.group, over.dC);
}

}  // namespace

void ssd_gradient_cuda(const SsdGradientParams& p, void* stream) {
  launch(p.shape.type == Element::f16 ? gradient_kernel<__half> : gradient_kernel<__nv_bfloat16>,
         dim3(static_cast<unsigned>(p.shape.count), static_cast<unsigned>(p.shape.groups * p.splits)), dim3(kThreads),
         GradientMemory::kBytes, p, stream);
}

}  // namespace ringtron
