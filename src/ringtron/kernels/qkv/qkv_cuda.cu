// q, k and v out of their projection, normalised and turned, and the way back, in one pass over memory. A block takes a
// row at a time: its threads share the row's cosines and sines, and go from head to head.
#include <cuda_runtime.h>

#include "ringtron/kernels/device/vector8.cuh"
#include "ringtron/kernels/qkv/qkv_params.h"

namespace ringtron {
namespace {

constexpr int kThreads = 128;

// Cosines and sines of two vectors of eight channels: those that a thread moves.
struct Turn {
  Vector8 cos[2], sin[2];
};

// Channel c of each pair turns by the angle: (a, b) to (a cos - b sin, b cos + a sin); back with -sin.
__device__ void turn_pairs(Vector8& a, Vector8& b, const Turn& t, float sign) {
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float x = a.v[i], y = b.v[i];
    a.v[i] = x * t.cos[0].v[i] - sign * y * t.sin[0].v[i];
    b.v[i] = y * t.cos[1].v[i] + sign * x * t.sin[1].v[i];
  }
}

__device__ void turn_neighbours(Vector8& x, const Vector8& cos, const Vector8& sin, float sign) {
#pragma unroll
  for (int i = 0; i < 8; i += 2) {
    const float a = x.v[i], b = x.v[i + 1];
    x.v[i] = a * cos.v[i] - sign * b * sin.v[i];
    x.v[i + 1] = b * cos.v[i + 1] + sign * a * sin.v[i + 1];
  }
}

// The two vectors of a head that thread `item` of size / 16 moves. Where the channels of a pair lie half of the turned
// ones apart, the first threads move both halves of their pairs.
struct Vectors {
  int first, second;
};

__device__ Vectors vectors_of(const QkvParams& p, int item) {
  const int pairs = p.cos != nullptr && !p.interleaved ? p.turned / 16 : 0;
  if (item < pairs) return {item, item + pairs};
  return {item + pairs, item + p.size / 16};
}

// Where a head comes from and goes to, and whether it is normalised and turned: queries and keys are.
struct Place {
  const void* from;
  void* to;
  std::int64_t from_at, to_at;
  bool is_query, turns;
};

template <bool kBack>
__device__ Place place_of(const QkvParams& p, std::int64_t row, int head) {
  const int of_group = p.queries + 2, heads = p.groups * of_group;
  const int group = head / of_group, place = head % of_group;
  const std::int64_t in_qkv = (row * heads + head) * p.size;
  const bool is_query = place < p.queries, is_key = place == p.queries;
  const std::int64_t apart =
      is_query ? (row * p.groups * p.queries + group * p.queries + place) * p.size : (row * p.groups + group) * p.size;
  const void* from = kBack ? (is_query ? p.q_in : is_key ? p.k_in : p.v_in) : p.qkv_in;
  void* to = kBack ? p.qkv : (is_query ? p.q : is_key ? p.k : p.v);
  return {from, to, kBack ? apart : in_qkv, kBack ? in_qkv : apart, is_query, is_query || is_key};
}

constexpr int kTogether = 3;  // heads of a thread whose loads are under way at once

// Of the threads that share a head: neighbours, `items` of them, a power of 2.
__device__ float sum_of_head(float x, int items) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned mask = items == 32 ? 0xffffffffu : ((1u << items) - 1u) << (lane / items * items);
  for (int other = items / 2; other > 0; other /= 2) x += __shfl_xor_sync(mask, x, other);
  return x;
}

// The two vectors of a thread, and what it does with them.
struct HeadPart {
  Vector8 v[2];
};

__device__ float product_of(const HeadPart& a, const HeadPart& b) {
  float sum = 0.0f;
#pragma unroll
  for (int k = 0; k < 2; ++k) {
#pragma unroll
    for (int i = 0; i < 8; ++i) sum += a.v[k].v[i] * b.v[k].v[i];
  }
  return sum;
}

template <Element kType>
__device__ HeadPart factors_of(const void* weight, const Vectors& at, bool zero_centred) {
  HeadPart w{{load8(weight, at.first * 8, kType), load8(weight, at.second * 8, kType)}};
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    w.v[0].v[i] += zero_centred ? 1.0f : 0.0f;
    w.v[1].v[i] += zero_centred ? 1.0f : 0.0f;
  }
  return w;
}

// RMSNorm as of a tensor that is written and read back: to x rstd w, rounded.
template <Element kType>
__device__ void normalise(HeadPart& x, const HeadPart& w, const QkvParams& p, int items) {
  const float rstd = rsqrtf(sum_of_head(product_of(x, x), items) / p.size + p.epsilon);
#pragma unroll
  for (int k = 0; k < 2; ++k) {
#pragma unroll
    for (int i = 0; i < 8; ++i) x.v[k].v[i] *= rstd * w.v[k].v[i];
    x.v[k] = rounded(x.v[k], kType);
  }
}

// With x^ = x rstd and g = dy w: dx = rstd (g - x^ mean(g x^)), in place of dy; dy x^ is added to `weight_sum`.
template <Element kType>
__device__ void normalise_back(HeadPart& dy, HeadPart x, const HeadPart& w, const QkvParams& p, int items,
                               HeadPart& weight_sum) {
  const float rstd = rsqrtf(sum_of_head(product_of(x, x), items) / p.size + p.epsilon);
  HeadPart g;
#pragma unroll
  for (int k = 0; k < 2; ++k) {
    dy.v[k] = rounded(dy.v[k], kType);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      x.v[k].v[i] *= rstd;
      weight_sum.v[k].v[i] += dy.v[k].v[i] * x.v[k].v[i];
      g.v[k].v[i] = dy.v[k].v[i] * w.v[k].v[i];
    }
  }
  const float mean = sum_of_head(product_of(g, x), items) / p.size;
#pragma unroll
  for (int k = 0; k < 2; ++k) {
#pragma unroll
    for (int i = 0; i < 8; ++i) dy.v[k].v[i] = rstd * (g.v[k].v[i] - x.v[k].v[i] * mean);
  }
}

__device__ Turn turn_of_row(const QkvParams& p, std::int64_t row, const Vectors& at) {
  Turn turn;
  const std::int64_t line = (p.table_of_samples ? row : row / p.batch) * p.turned;
  if (p.cos != nullptr && at.first * 8 < p.turned) {
    turn.cos[0] = load8(p.cos, line + at.first * 8, Element::f32);
    turn.sin[0] = load8(p.sin, line + at.first * 8, Element::f32);
  }
  if (p.cos != nullptr && at.second * 8 < p.turned) {
    turn.cos[1] = load8(p.cos, line + at.second * 8, Element::f32);
    turn.sin[1] = load8(p.sin, line + at.second * 8, Element::f32);
  }
  return turn;
}

__device__ void turn_head(HeadPart& x, const Turn& turn, const QkvParams& p, const Vectors& at, float sign) {
  if (p.cos == nullptr) return;
  if (!p.interleaved) {
    if (at.first * 8 < p.turned) turn_pairs(x.v[0], x.v[1], turn, sign);
    return;
  }
  if (at.first * 8 < p.turned) turn_neighbours(x.v[0], turn.cos[0], turn.sin[0], sign);
  if (at.second * 8 < p.turned) turn_neighbours(x.v[1], turn.cos[1], turn.sin[1], sign);
}

// Each block's sums of the weight gradient of queries or keys, over the threads that have the same channels.
__device__ void write_weight_part(float* parts, const HeadPart& sum, const QkvParams& p, const Vectors& at, int items) {
  __shared__ float shared[kThreads][17];  // 17: no two threads in one bank
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 16; ++i) shared[threadIdx.x][i] = sum.v[i / 8].v[i % 8];
  __syncthreads();
  if (threadIdx.x >= items) return;
  for (int i = 0; i < 16; ++i) {
    float total = 0.0f;
    for (int thread = threadIdx.x; thread < kThreads; thread += items) total += shared[thread][i];
    const int channel = (i < 8 ? at.first : at.second) * 8 + i % 8;
    parts[static_cast<std::int64_t>(blockIdx.x) * p.size + channel] = total;
  }
}

template <bool kBack, bool kNorm, Element kType>
__global__ void __launch_bounds__(kThreads) qkv_kernel(const __grid_constant__ QkvParams p) {
  const int items = p.size / 16;
  const int heads_at_once = kThreads / items;
  if (threadIdx.x >= heads_at_once * items) return;
  const Vectors at = vectors_of(p, threadIdx.x % items);
  const int heads = p.groups * (p.queries + 2);
  HeadPart q_weight_sum = {}, k_weight_sum = {};
  for (std::int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const Turn turn = turn_of_row(p, row, at);
    for (int begin = threadIdx.x / items; begin < heads; begin += kTogether * heads_at_once) {
      Bits8 in[kTogether][2], x_in[kBack && kNorm ? kTogether : 1][2];
#pragma unroll
      for (int k = 0; k < kTogether; ++k) {
        const int head = begin + k * heads_at_once;
        if (head >= heads) continue;
        const Place place = place_of<kBack>(p, row, head);
        in[k][0] = load_bits8(place.from, place.from_at + at.first * 8, kType);
        in[k][1] = load_bits8(place.from, place.from_at + at.second * 8, kType);
        if constexpr (kBack && kNorm) {
          x_in[k][0] = load_bits8(p.qkv_in, place.to_at + at.first * 8, kType);
          x_in[k][1] = load_bits8(p.qkv_in, place.to_at + at.second * 8, kType);
        }
      }
#pragma unroll
      for (int k = 0; k < kTogether; ++k) {
        const int head = begin + k * heads_at_once;
        if (head >= heads) continue;
        const Place place = place_of<kBack>(p, row, head);
        HeadPart x{{numbers_of(in[k][0], kType), numbers_of(in[k][1], kType)}};
        if constexpr (kNorm && !kBack) {
          if (place.turns)
            normalise<kType>(x, factors_of<kType>(place.is_query ? p.q_weight : p.k_weight, at, p.zero_centred), p,
                             items);
        }
        if (place.turns) turn_head(x, turn, p, at, kBack ? -1.0f : 1.0f);
        if constexpr (kNorm && kBack) {
          const HeadPart before{{numbers_of(x_in[k][0], kType), numbers_of(x_in[k][1], kType)}};
          if (place.turns)
            normalise_back<kType>(x, before,
                                  factors_of<kType>(place.is_query ? p.q_weight : p.k_weight, at, p.zero_centred), p,
                                  items, place.is_query ? q_weight_sum : k_weight_sum);
        }
        store8(place.to, place.to_at + at.first * 8, kType, x.v[0]);
        store8(place.to, place.to_at + at.second * 8, kType, x.v[1]);
      }
    }
  }
  if constexpr (kNorm && kBack) {
    write_weight_part(p.q_weight_parts, q_weight_sum, p, at, items);
    write_weight_part(p.k_weight_parts, k_weight_sum, p, at, items);
  }
}

template <bool kBack, bool kNorm>
void launch(const QkvParams& params, std::int64_t blocks, cudaStream_t stream) {
  const auto grid = static_cast<unsigned>(blocks);
  if (params.type == Element::f32) qkv_kernel<kBack, kNorm, Element::f32><<<grid, kThreads, 0, stream>>>(params);
  if (params.type == Element::f16) qkv_kernel<kBack, kNorm, Element::f16><<<grid, kThreads, 0, stream>>>(params);
  if (params.type == Element::bf16) qkv_kernel<kBack, kNorm, Element::bf16><<<grid, kThreads, 0, stream>>>(params);
}

}  // namespace

void split_qkv_cuda(const QkvParams& params, void* stream) {
  if (params.rows == 0) return;
  if (params.normalises())
    launch<false, true>(params, params.rows, static_cast<cudaStream_t>(stream));
  else
    launch<false, false>(params, params.rows, static_cast<cudaStream_t>(stream));
}

void join_qkv_cuda(const QkvParams& params, void* stream) {
  if (params.normalises())
    launch<true, true>(params, params.parts, static_cast<cudaStream_t>(stream));
  else if (params.rows > 0)
    launch<true, false>(params, params.rows, static_cast<cudaStream_t>(stream));
}

}  // namespace ringtron
