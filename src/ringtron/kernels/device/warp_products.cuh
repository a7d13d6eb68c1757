// Products of 16-bit tiles by a warp (mma.sync, ldmatrix) and copies that do not wait (cp.async), each one instruction
// behind a function; from sm_80 on. Layouts of fragments: PTX ISA, mma.m16n8k16: lane 4 r + c has columns 2c and 2c + 1
// of each eight, in rows r (elements 0, 1) and r + 8 (2, 3).
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "ringtron/kernels/device/element_pair.cuh"

namespace ringtron {

// 2^x; results below 2^-126 become 0.
__device__ inline float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Four matrices of 8 x 8 from shared memory. Lanes 8 i to 8 i + 7 give the addresses of matrix i's rows, 16 bytes each;
// lane 4 r + c gets columns 2c and 2c + 1 of row r, or of the transposed matrix.
__device__ inline void load_matrices(std::uint32_t (&m)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

__device__ inline void load_matrices_transposed(std::uint32_t (&m)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

// c += a b: 16 x 16 times 16 x 8. Word 0 and 1 of b: rows 2c, 2c + 1 and 2c + 8, 2c + 9 of column r.
template <class T>
__device__ void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  if constexpr (std::is_same_v<T, __half>) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// 16 bytes to shared memory, or zeros where nothing is there; then nothing is read.
__device__ inline void copy_async(void* to, const void* from, bool there) {
  const int bytes = there ? 16 : 0;
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(static_cast<std::uint32_t>(__cvta_generic_to_shared(to))),
      "l"(from), "r"(bytes)
      : "memory");
}

// What this thread began to copy since the last call is a group.
__device__ inline void end_copies() { asm volatile("cp.async.commit_group;\n" ::: "memory"); }

// Until all of this thread's groups but the last kLater are there; those of other threads after a barrier.
template <int kLater>
__device__ void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(kLater) : "memory");
}

}  // namespace ringtron
