// See cuda_runtime.h beside this: what the kernels use of CUDA's fp16.
#pragma once

#include <cuda_runtime.h>

#include <c10/util/Half.h>

struct __half {
  c10::Half value;
};
struct __half2 {
  __half x, y;
};
inline __half __float2half_rn(float x) { return {c10::Half(x)}; }
inline float __half2float(__half x) { return x.value; }
inline __half2 __floats2half2_rn(float x, float y) { return {__float2half_rn(x), __float2half_rn(y)}; }
inline float2 __half22float2(__half2 x) { return {x.x.value, x.y.value}; }
