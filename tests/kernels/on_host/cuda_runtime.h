// Stands in for CUDA's header, so that a kernel's source compiles for the host: threads of a block are fibers of one
// thread, which take turns where they wait for each other. For tests of arithmetic; it says nothing of speed. Blocks
// run with their threads in one order or the other, and with asynchronous copies made when they begin or when they are
// waited for, in turns, so that a barrier or a wait that is missing is likely to be seen.
//
// All lanes of a warp must come to each warp operation, and all threads of a block to each barrier.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>

#define __device__
#define __host__
#define __global__
#define __shared__ static  // one block runs at a time
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

using cudaStream_t = void*;
using std::max;
using std::min;

struct uint2 {
  std::uint32_t x, y;
};
struct alignas(16) uint4 {
  std::uint32_t x, y, z, w;
};
struct float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(std::uint32_t x, std::uint32_t y, std::uint32_t z, std::uint32_t w) { return {x, y, z, w}; }

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned x_in = 1, unsigned y_in = 1, unsigned z_in = 1) : x(x_in), y(y_in), z(z_in) {}
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace ringtron::on_host {

// Runs thread_body in `threads` fibers for each block of the grid. `shared`: bytes of dynamic shared memory.
void run_grid(dim3 grid, dim3 threads, std::size_t shared, const std::function<void()>& thread_body);
void* dynamic_shared();

void block_barrier();
// All lanes' `bytes` from `mine`; the result holds those of lane i at i * bytes, until the lane's next call but one.
// `together`: what is done with them once, in place, before any lane goes on.
const unsigned char* of_all_lanes(const void* mine, std::size_t bytes, void (*together)(unsigned char*) = nullptr);

// Asynchronous copies of the current thread: of 16 bytes, null: of zeros.
void begin_copy(void* to, const void* from);
void end_copies();
void wait_for_copies(std::size_t groups_left);

template <class T>
T of_lane(T x, unsigned lane) {
  T other;
  std::memcpy(&other, of_all_lanes(&x, sizeof(T)) + lane * sizeof(T), sizeof(T));
  return other;
}

inline unsigned lane() { return (threadIdx.x + blockDim.x * threadIdx.y) % 32; }

}  // namespace ringtron::on_host

inline void __syncthreads() { ringtron::on_host::block_barrier(); }
inline void __syncwarp() { ringtron::on_host::of_lane(0, 0); }
template <class T>
T __shfl_sync(unsigned, T x, int lane) {
  return ringtron::on_host::of_lane(x, static_cast<unsigned>(lane) % 32);
}
template <class T>
T __shfl_xor_sync(unsigned, T x, int mask) {
  return ringtron::on_host::of_lane(x, ringtron::on_host::lane() ^ static_cast<unsigned>(mask));
}
template <class T>
T __shfl_up_sync(unsigned, T x, unsigned distance) {
  const unsigned lane = ringtron::on_host::lane();
  return ringtron::on_host::of_lane(x, lane < distance ? lane : lane - distance);
}
template <class T>
T __shfl_down_sync(unsigned, T x, unsigned distance) {
  const unsigned lane = ringtron::on_host::lane();
  return ringtron::on_host::of_lane(x, lane + distance < 32 ? lane + distance : lane);
}

inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline int __popcll(std::uint64_t x) { return std::popcount(x); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<std::uint64_t>(x)); }
inline std::uint32_t __float_as_uint(float x) { return std::bit_cast<std::uint32_t>(x); }
inline float __uint_as_float(std::uint32_t x) { return std::bit_cast<float>(x); }
