// Stands in for the kernels' header of this name, on the host: the same functions, after the layouts of fragments in
// the PTX ISA (mma.m16n8k16, ldmatrix).
#pragma once

#include <type_traits>

#include "ringtron/kernels/device/element_pair.cuh"
#include "tests/kernels/on_host/cuda_runtime.h"

namespace ringtron {

inline float power_of_two(float x) { return std::exp2(x); }

inline void load_matrices_of(std::uint32_t (&m)[4], const void* row, bool transposed) {
  const unsigned lane = on_host::lane();
  const unsigned char* all = on_host::of_all_lanes(&row, sizeof(row));
  for (unsigned i = 0; i < 4; ++i) {
    std::uint16_t pair[2];
    for (unsigned k = 0; k < 2; ++k) {
      const unsigned r = transposed ? 2 * (lane % 4) + k : lane / 4, c = transposed ? lane / 4 : 2 * (lane % 4) + k;
      const std::uint16_t* from;
      std::memcpy(&from, all + (8 * i + r) * sizeof(from), sizeof(from));
      pair[k] = from[c];
    }
    std::memcpy(&m[i], pair, sizeof(m[i]));
  }
}
inline void load_matrices(std::uint32_t (&m)[4], const void* row) { load_matrices_of(m, row, false); }
inline void load_matrices_transposed(std::uint32_t (&m)[4], const void* row) { load_matrices_of(m, row, true); }

struct LaneOfProduct {
  std::uint32_t a[4], b[2];
};

// Of all lanes: the product in place of the operands.
template <class T>
void multiply_together(unsigned char* slots) {
  LaneOfProduct lanes[32];
  std::memcpy(lanes, slots, sizeof(lanes));
  float left[16][16], right[16][8], product[16][8] = {};
  for (unsigned lane = 0; lane < 32; ++lane) {
    const unsigned r = lane / 4, c = lane % 4 * 2;
    const auto put = [](float* to, float* next, std::uint32_t word) {
      const float2 pair = unpacked<T>(word);
      *to = pair.x, *next = pair.y;
    };
    for (unsigned i = 0; i < 4; ++i) {
      float* const to = &left[r + i % 2 * 8][c + i / 2 * 8];
      put(to, to + 1, lanes[lane].a[i]);
    }
    for (unsigned i = 0; i < 2; ++i) put(&right[c + 8 * i][r], &right[c + 8 * i + 1][r], lanes[lane].b[i]);
  }
  for (unsigned m = 0; m < 16; ++m) {
    for (unsigned k = 0; k < 16; ++k) {
      for (unsigned n = 0; n < 8; ++n) product[m][n] += left[m][k] * right[k][n];
    }
  }
  for (unsigned lane = 0; lane < 32; ++lane) {
    for (unsigned half = 0; half < 2; ++half)
      std::memcpy(slots + lane * sizeof(LaneOfProduct) + 8 * half, &product[lane / 4 + 8 * half][lane % 4 * 2], 8);
  }
}

template <class T>
void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  const LaneOfProduct mine{{a[0], a[1], a[2], a[3]}, {b0, b1}};
  const unsigned char* all = on_host::of_all_lanes(&mine, sizeof(mine), multiply_together<T>);
  float product[4];
  std::memcpy(product, all + on_host::lane() * sizeof(mine), sizeof(product));
  for (unsigned e = 0; e < 4; ++e) c[e] += product[e];
}

inline void copy_async(void* to, const void* from, bool there) { on_host::begin_copy(to, there ? from : nullptr); }
inline void end_copies() { on_host::end_copies(); }
template <int kLater>
void wait_for_copies() {
  on_host::wait_for_copies(kLater);
}

}  // namespace ringtron
