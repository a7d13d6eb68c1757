// The causal convolution on the GPU, forward and backward: each tensor is read and written once. A thread walks along
// the rows of four neighbouring channels with the last rows in registers.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "ringtron/kernels/causal_conv/causal_conv_params.h"
#include "ringtron/kernels/device/launch.cuh"
#include "ringtron/kernels/device/vector4.cuh"

namespace ringtron {
namespace {

constexpr int kThreads = 128;
constexpr int kForwardRows = 64, kBackwardRows = 128;  // of one sample that a thread walks along
constexpr int kAhead = 4;                              // rows whose loads are under way before one is used

// The rows of one sample that a thread has, and the segment that it is in.
struct Walk {
  std::int64_t sample, first, end;  // rows
  const ConvSegment* segment;

  __device__ Walk(const CausalConvParams& p, int rows_of_thread) {
    const std::int64_t parts = (p.rows + rows_of_thread - 1) / rows_of_thread;
    sample = blockIdx.x / parts;
    first = blockIdx.x % parts * rows_of_thread;
    end = min(first + rows_of_thread, p.rows);
    std::int64_t low = 0, high = p.count - 1;  // the last segment that does not begin behind the first row
    while (low < high) {
      const std::int64_t middle = (low + high + 1) / 2;
      if (p.segments[middle].begin <= sample * p.rows + first)
        low = middle;
      else
        high = middle - 1;
    }
    segment = p.segments + low;
  }

  __device__ std::int64_t begin_of_segment(const CausalConvParams& p) const { return segment->begin - sample * p.rows; }
  // Where the row is in x and in y, in rows.
  __device__ std::int64_t place(const CausalConvParams& p, std::int64_t row) const { return row * p.samples + sample; }
  // Goes on to the next segment if `row` is its first.
  __device__ bool enters_segment(const CausalConvParams& p, std::int64_t row) {
    if (segment[1].begin != sample * p.rows + row) return false;
    ++segment;
    return true;
  }
  // The line of the halo that stands for a row before the segment, -1: none.
  __device__ std::int64_t halo_line(const CausalConvParams& p, std::int64_t row) const {
    if (segment->initial < 0) return -1;
    return segment->initial * (p.width - 1) + p.width - 1 - (begin_of_segment(p) - row);
  }
};

// A row of x as the segment of `walk` sees it.
template <Element kType>
__device__ Vector4 row_seen(const CausalConvParams& p, const Walk& walk, std::int64_t row, int column) {
  if (row >= walk.begin_of_segment(p)) return load4(p.x, walk.place(p, row) * p.x_stride + column, kType);
  const std::int64_t line = walk.halo_line(p, row);
  return line < 0 ? Vector4{} : load4(p.halo, line * p.channels + column, kType);
}

template <int kWidth, Element kType>
struct Taps {
  Vector4 tap[kWidth], bias;

  __device__ Taps(const CausalConvParams& p, int column) {
    bias = load4(p.bias, column, kType);
    Vector4 lines[kWidth];  // the same numbers as they lie in memory
#pragma unroll
    for (int k = 0; k < kWidth; ++k) lines[k] = load4(p.weight, column * std::int64_t{kWidth} + 4 * k, kType);
#pragma unroll
    for (int c = 0; c < 4; ++c) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) tap[k].v[c] = lines[(c * kWidth + k) / 4].v[(c * kWidth + k) % 4];
    }
  }

  // rows: the kWidth rows that a result is made of.
  __device__ Vector4 sum(const Vector4 (&rows)[kWidth]) const {
    Vector4 z = bias;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
#pragma unroll
      for (int c = 0; c < 4; ++c) z.v[c] += tap[k].v[c] * rows[k].v[c];
    }
    return z;
  }
};

// The rows before `row`, in places 0 to kWidth - 2.
template <int kWidth, Element kType>
__device__ void look_back(const CausalConvParams& p, const Walk& walk, std::int64_t row, int column,
                          Vector4 (&rows)[kWidth]) {
#pragma unroll
  for (int k = 0; k < kWidth - 1; ++k) rows[k] = row_seen<kType>(p, walk, row - (kWidth - 1) + k, column);
}

template <int kWidth>
__device__ void shift(Vector4 (&rows)[kWidth]) {
#pragma unroll
  for (int k = 0; k < kWidth - 1; ++k) rows[k] = rows[k + 1];
}

__device__ float sigmoid(float z) { return __fdividef(1.0f, 1.0f + __expf(-z)); }  // 0 below -87

template <int kWidth, Element kType>
__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ CausalConvParams p) {
  const int column = static_cast<int>(blockIdx.y * kThreads + threadIdx.x) * 4;
  if (column >= p.channels) return;
  Walk walk(p, kForwardRows);
  const Taps<kWidth, kType> taps(p, column);
  Vector4 rows[kWidth];
  look_back<kWidth, kType>(p, walk, walk.first, column, rows);
  for (std::int64_t group = walk.first; group < walk.end; group += kAhead) {
    Bits4 in[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      if (group + k < walk.end) in[k] = load_bits4(p.x, walk.place(p, group + k) * p.x_stride + column, kType);
    }
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      const std::int64_t row = group + k;
      if (row >= walk.end) break;
      if (walk.enters_segment(p, row)) look_back<kWidth, kType>(p, walk, row, column, rows);
      rows[kWidth - 1] = numbers_of(in[k], kType);
      Vector4 y = taps.sum(rows);
#pragma unroll
      for (int c = 0; c < 4; ++c) y.v[c] *= sigmoid(y.v[c]);
      store4(p.y, walk.place(p, row) * p.channels + column, kType, y);
      shift(rows);
    }
  }
}

// What the backward has of the rows that it has come by: x, and the sums of dx that are not complete yet, the oldest
// first. `grads`: of the taps, then of the bias.
template <int kWidth, Element kType>
struct Backward {
  Vector4 rows[kWidth], pending[kWidth], grads[kWidth + 1];

  // The sum for `row` is complete. Rows of other threads and rows that do not exist are left out.
  __device__ void store(const CausalConvParams& p, const Walk& walk, std::int64_t row, int column) const {
    const std::int64_t begin = walk.begin_of_segment(p);
    if (row >= begin) {
      if (row >= walk.first && row < walk.end)
        store4(p.dx, walk.place(p, row) * p.dx_stride + column, kType, pending[0]);
      return;
    }
    const std::int64_t line = walk.halo_line(p, row);
    if (line >= 0 && begin >= walk.first && begin < walk.end)
      store4(p.d_halo, line * p.channels + column, kType, pending[0]);
  }

  // No row from `row` on sees the rows before it.
  __device__ void leave_segment(const CausalConvParams& p, const Walk& walk, std::int64_t row, int column) {
#pragma unroll
    for (int k = 0; k < kWidth - 1; ++k) {
      store(p, walk, row - (kWidth - 1) + k, column);
      shift(pending);
      pending[kWidth - 1] = {};
    }
    clear();
  }

  __device__ void clear() {
#pragma unroll
    for (int k = 0; k < kWidth; ++k) pending[k] = {};
  }

  __device__ void pass(const Taps<kWidth, kType>& taps, const Vector4& dy, bool counts) {
    const Vector4 z = taps.sum(rows);
    Vector4 g;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const float gate = sigmoid(z.v[c]);
      g.v[c] = dy.v[c] * gate * (1.0f + z.v[c] * (1.0f - gate));
    }
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        pending[k].v[c] += taps.tap[k].v[c] * g.v[c];
        if (counts) grads[k].v[c] += rows[k].v[c] * g.v[c];
      }
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      if (counts) grads[kWidth].v[c] += g.v[c];
    }
  }
};

template <int kWidth, Element kType>
__global__ void __launch_bounds__(kThreads) backward_kernel(const __grid_constant__ CausalConvParams p) {
  const int column = static_cast<int>(blockIdx.y * kThreads + threadIdx.x) * 4;
  if (column >= p.channels) return;
  Walk walk(p, kBackwardRows);
  const Taps<kWidth, kType> taps(p, column);
  Backward<kWidth, kType> b = {};
  look_back<kWidth, kType>(p, walk, walk.first, column, b.rows);
  const std::int64_t seen_until = min(walk.end + kWidth - 1, p.rows);  // the rows that see this thread's
  bool left = false;                                                   // the segment of the last own row
  for (std::int64_t group = walk.first; group < seen_until && !left; group += kAhead) {
    Bits4 in[kAhead], gradient[kAhead];
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      if (group + k >= seen_until) continue;
      in[k] = load_bits4(p.x, walk.place(p, group + k) * p.x_stride + column, kType);
      gradient[k] = load_bits4(p.dy, walk.place(p, group + k) * p.channels + column, kType);
    }
#pragma unroll
    for (int k = 0; k < kAhead; ++k) {
      const std::int64_t row = group + k;
      if (row >= seen_until || left) break;
      const Walk before = walk;
      if (walk.enters_segment(p, row)) {
        b.leave_segment(p, before, row, column);
        left = row >= walk.end;
        if (left) break;
        look_back<kWidth, kType>(p, walk, row, column, b.rows);
      }
      b.rows[kWidth - 1] = numbers_of(in[k], kType);
      b.pass(taps, numbers_of(gradient[k], kType), row < walk.end);
      b.store(p, walk, row - (kWidth - 1), column);
      shift(b.rows);
      shift(b.pending);
      b.pending[kWidth - 1] = {};
    }
  }
  if (!left) b.leave_segment(p, walk, seen_until, column);
  float* const parts = p.parts + blockIdx.x * std::int64_t{kWidth + 1} * p.channels;
#pragma unroll
  for (int k = 0; k <= kWidth; ++k) store4(parts, std::int64_t{k} * p.channels + column, Element::f32, b.grads[k]);
}

std::int64_t parts_of(const CausalConvParams& p, int rows_of_thread) {
  return (p.rows + rows_of_thread - 1) / rows_of_thread * p.samples;
}

template <int kWidth, Element kType>
void launch_of(bool forward, const CausalConvParams& p, void* stream) {
  const dim3 grid(static_cast<unsigned>(parts_of(p, forward ? kForwardRows : kBackwardRows)),
                  static_cast<unsigned>((p.channels / 4 + kThreads - 1) / kThreads));
  launch(forward ? forward_kernel<kWidth, kType> : backward_kernel<kWidth, kType>, grid, dim3(kThreads), 0, p, stream);
}

template <int kWidth>
void launch_of(bool forward, const CausalConvParams& p, void* stream) {
  if (p.type == Element::f32) launch_of<kWidth, Element::f32>(forward, p, stream);
  if (p.type == Element::f16) launch_of<kWidth, Element::f16>(forward, p, stream);
  if (p.type == Element::bf16) launch_of<kWidth, Element::bf16>(forward, p, stream);
}

void launch_of(bool forward, const CausalConvParams& p, void* stream) {
  if (p.width == 2) launch_of<2>(forward, p, stream);
  if (p.width == 3) launch_of<3>(forward, p, stream);
  if (p.width == 4) launch_of<4>(forward, p, stream);
}

}  // namespace

std::int64_t causal_conv_parts(std::int64_t rows, std::int64_t samples) {
  return (rows + kBackwardRows - 1) / kBackwardRows * samples;
}

void causal_conv_forward_cuda(const CausalConvParams& params, void* stream) { launch_of(true, params, stream); }
void causal_conv_backward_cuda(const CausalConvParams& params, void* stream) { launch_of(false, params, stream); }

}  // namespace ringtron
