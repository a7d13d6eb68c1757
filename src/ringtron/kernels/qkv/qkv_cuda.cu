// q, k and v out of their projection and turned, and the way back, in one pass over memory. A block takes one row: its
// threads share the row's cosines and sines, and go from head to head.
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

// Where a head comes from and goes to, and whether it is turned: queries and keys are.
struct Place {
  const void* from;
  void* to;
  std::int64_t from_at, to_at;
  bool turns;
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
  return {from, to, kBack ? apart : in_qkv, kBack ? in_qkv : apart, is_query || is_key};
}

constexpr int kTogether = 3;  // heads of a thread whose loads are under way at once

template <bool kBack, Element kType>
__global__ void __launch_bounds__(kThreads) qkv_kernel(const __grid_constant__ QkvParams p) {
  const int items = p.size / 16;
  const int heads_at_once = kThreads / items;
  const int item = threadIdx.x % items;
  if (threadIdx.x >= heads_at_once * items) return;
  const std::int64_t row = blockIdx.x;
  const auto [first, second] = vectors_of(p, item);
  const bool turns_first = p.cos != nullptr && first * 8 < p.turned,
             turns_second = p.cos != nullptr && second * 8 < p.turned;
  Turn turn;
  const std::int64_t line = (p.table_of_samples ? row : row / p.batch) * p.turned;
  if (turns_first) {
    turn.cos[0] = load8(p.cos, line + first * 8, Element::f32);
    turn.sin[0] = load8(p.sin, line + first * 8, Element::f32);
  }
  if (turns_second) {
    turn.cos[1] = load8(p.cos, line + second * 8, Element::f32);
    turn.sin[1] = load8(p.sin, line + second * 8, Element::f32);
  }
  const int of_group = p.queries + 2, heads = p.groups * of_group;
  for (int begin = threadIdx.x / items; begin < heads; begin += kTogether * heads_at_once) {
    Bits8 in[kTogether][2];
#pragma unroll
    for (int k = 0; k < kTogether; ++k) {
      const int head = begin + k * heads_at_once;
      if (head >= heads) continue;
      const Place place = place_of<kBack>(p, row, head);
      in[k][0] = load_bits8(place.from, place.from_at + first * 8, kType);
      in[k][1] = load_bits8(place.from, place.from_at + second * 8, kType);
    }
#pragma unroll
    for (int k = 0; k < kTogether; ++k) {
      const int head = begin + k * heads_at_once;
      if (head >= heads) continue;
      const Place place = place_of<kBack>(p, row, head);
      Vector8 a = numbers_of(in[k][0], kType), b = numbers_of(in[k][1], kType);
      if (place.turns) {
        const float sign = kBack ? -1.0f : 1.0f;
        if (!p.interleaved) {
          if (turns_first) turn_pairs(a, b, turn, sign);
        } else {
          if (turns_first) turn_neighbours(a, turn.cos[0], turn.sin[0], sign);
          if (turns_second) turn_neighbours(b, turn.cos[1], turn.sin[1], sign);
        }
      }
      store8(place.to, place.to_at + first * 8, kType, a);
      store8(place.to, place.to_at + second * 8, kType, b);
    }
  }
}

template <bool kBack>
void launch(const QkvParams& params, void* stream) {
  if (params.rows == 0) return;
  const auto grid = static_cast<unsigned>(params.rows);
  const auto s = static_cast<cudaStream_t>(stream);
  if (params.type == Element::f32) qkv_kernel<kBack, Element::f32><<<grid, kThreads, 0, s>>>(params);
  if (params.type == Element::f16) qkv_kernel<kBack, Element::f16><<<grid, kThreads, 0, s>>>(params);
  if (params.type == Element::bf16) qkv_kernel<kBack, Element::bf16><<<grid, kThreads, 0, s>>>(params);
}

}  // namespace

void split_qkv_cuda(const QkvParams& params, void* stream) { launch<false>(params, stream); }
void join_qkv_cuda(const QkvParams& params, void* stream) { launch<true>(params, stream); }

}  // namespace ringtron
