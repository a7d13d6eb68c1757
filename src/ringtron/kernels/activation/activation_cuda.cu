// The feed-forward nonlinearities on the GPU: each tensor is read and written once, eight neighbours a thread.
#include <cuda_runtime.h>

#include "ringtron/kernels/activation/activation_params.h"
#include "ringtron/kernels/device/vector8.cuh"

namespace ringtron {
namespace {

constexpr int kThreads = 256;
constexpr float kRootHalf = 0.70710678118654752f;     // sqrt(1/2)
constexpr float kNormal = 0.39894228040143268f;       // 1 / sqrt(2 pi)
constexpr float kRootTwoByPi = 0.79788456080286536f;  // sqrt(2 / pi)
constexpr float kCubic = 0.044715f;

struct ValueAndSlope {
  float value, slope;
};

__device__ ValueAndSlope gelu_erf(float x) {
  const float below = 0.5f * (1.0f + erff(x * kRootHalf));
  return {x * below, below + x * kNormal * __expf(-0.5f * x * x)};
}

__device__ ValueAndSlope gelu_tanh(float x) {
  const float t = tanhf(kRootTwoByPi * (x + kCubic * x * x * x));
  const float inner = kRootTwoByPi * (1.0f + 3.0f * kCubic * x * x);
  const float bend = 1.0f - t * t;  // 0 where x is so large that `inner` may not be finite
  return {0.5f * x * (1.0f + t), 0.5f * (1.0f + t) + (bend == 0.0f ? 0.0f : 0.5f * x * bend * inner)};
}

__device__ ValueAndSlope squared_relu(float x) {
  const float positive = fmaxf(x, 0.0f);
  return {positive * positive, 2.0f * positive};
}

__device__ ValueAndSlope silu(float x) {
  const float gate = __fdividef(1.0f, 1.0f + __expf(-x));  // 0 below -87, where the result is less than 1e-36
  return {x * gate, gate * (1.0f + x * (1.0f - gate))};
}

template <Activation kActivation>
__device__ ValueAndSlope plain(float x) {
  if constexpr (kActivation == Activation::gelu_erf) return gelu_erf(x);
  if constexpr (kActivation == Activation::gelu_tanh) return gelu_tanh(x);
  if constexpr (kActivation == Activation::squared_relu) return squared_relu(x);
  return silu(x);
}

// Two rows a thread, all of whose loads are under way before the first number is used.
constexpr int kRows = 2;

template <Activation kActivation, Element kType>
__global__ void __launch_bounds__(kThreads) forward_kernel(const __grid_constant__ ActivationParams p) {
  const std::int64_t column = (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x) * 8;
  if (column >= p.width) return;
  constexpr bool kGated = kActivation == Activation::swiglu;
  for (std::int64_t first = blockIdx.y * std::int64_t{kRows}; first < p.rows;
       first += gridDim.y * std::int64_t{kRows}) {
    Bits8 x[kRows], up[kRows];
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      if (first + k >= p.rows) continue;
      const std::int64_t from = (first + k) * p.width * (kGated ? 2 : 1) + column;
      x[k] = load_bits8(p.x, from, kType);
      if constexpr (kGated) up[k] = load_bits8(p.x, from + p.width, kType);
    }
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      if (first + k >= p.rows) continue;
      Vector8 y = numbers_of(x[k], kType);
      [[maybe_unused]] const Vector8 factor = numbers_of(up[k], kType);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        y.v[i] = plain<kActivation>(y.v[i]).value;
        if constexpr (kGated) y.v[i] *= factor.v[i];
      }
      store8(p.out, (first + k) * p.width + column, kType, y);
    }
  }
}

template <Activation kActivation, Element kType>
__global__ void __launch_bounds__(kThreads) backward_kernel(const __grid_constant__ ActivationParams p) {
  const std::int64_t column = (blockIdx.x * static_cast<std::int64_t>(kThreads) + threadIdx.x) * 8;
  if (column >= p.width) return;
  constexpr bool kGated = kActivation == Activation::swiglu;
  for (std::int64_t first = blockIdx.y * std::int64_t{kRows}; first < p.rows;
       first += gridDim.y * std::int64_t{kRows}) {
    Bits8 in[kRows], gradient[kRows], gated[kRows];
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      if (first + k >= p.rows) continue;
      const std::int64_t from = (first + k) * p.width * (kGated ? 2 : 1) + column;
      in[k] = load_bits8(p.x, from, kType);
      gradient[k] = load_bits8(p.dy, (first + k) * p.width + column, kType);
      if constexpr (kGated) gated[k] = load_bits8(p.x, from + p.width, kType);
    }
#pragma unroll
    for (int k = 0; k < kRows; ++k) {
      if (first + k >= p.rows) continue;
      const Vector8 x = numbers_of(in[k], kType), dy = numbers_of(gradient[k], kType);
      [[maybe_unused]] const Vector8 up = numbers_of(gated[k], kType);
      Vector8 dx, d_up;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const ValueAndSlope f = plain<kActivation>(x.v[i]);
        dx.v[i] = dy.v[i] * f.slope;
        if constexpr (kGated) {
          dx.v[i] *= up.v[i];
          d_up.v[i] = dy.v[i] * f.value;
        }
      }
      const std::int64_t to = (first + k) * p.width * (kGated ? 2 : 1) + column;
      store8(p.out, to, kType, dx);
      if constexpr (kGated) store8(p.out, to + p.width, kType, d_up);
    }
  }
}

template <Activation kActivation, Element kType>
void launch(bool forward, const ActivationParams& params, cudaStream_t stream) {
  if (params.rows == 0 || params.width == 0) return;
  const std::int64_t columns = (params.width / 8 + kThreads - 1) / kThreads, rows = (params.rows + kRows - 1) / kRows;
  const dim3 grid(static_cast<unsigned>(columns), static_cast<unsigned>(rows < 65535 ? rows : 65535));
  if (forward)
    forward_kernel<kActivation, kType><<<grid, kThreads, 0, stream>>>(params);
  else
    backward_kernel<kActivation, kType><<<grid, kThreads, 0, stream>>>(params);
}

template <Activation kActivation>
void launch(bool forward, const ActivationParams& params, cudaStream_t stream) {
  switch (params.type) {
    case Element::f32:
      return launch<kActivation, Element::f32>(forward, params, stream);
    case Element::f16:
      return launch<kActivation, Element::f16>(forward, params, stream);
    case Element::bf16:
      return launch<kActivation, Element::bf16>(forward, params, stream);
  }
}

void launch(bool forward, const ActivationParams& params, void* stream) {
  const auto s = static_cast<cudaStream_t>(stream);
  switch (params.activation) {
    case Activation::gelu_erf:
      return launch<Activation::gelu_erf>(forward, params, s);
    case Activation::gelu_tanh:
      return launch<Activation::gelu_tanh>(forward, params, s);
    case Activation::swiglu:
      return launch<Activation::swiglu>(forward, params, s);
    case Activation::squared_relu:
      return launch<Activation::squared_relu>(forward, params, s);
  }
}

}  // namespace

void activation_forward_cuda(const ActivationParams& params, void* stream) { launch(true, params, stream); }
void activation_backward_cuda(const ActivationParams& params, void* stream) { launch(false, params, stream); }

}  // namespace ringtron
