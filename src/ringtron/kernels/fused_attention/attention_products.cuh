// Products of tiles and fragments by tensor cores: wgmma on sm_90a (not on sm_90 without the a), where four warps
// multiply 64 rows straight from shared memory, else mma.sync, whose operands go through registers. Products only
// begin: until wait_for_products() neither their results nor what they read may be touched.
#pragma once

#include <type_traits>

#include "ringtron/kernels/device/element_pair.cuh"
#include "ringtron/kernels/fused_attention/attention_tile.cuh"

namespace ringtron::fused {

__device__ inline void load_matrices(std::uint32_t (&m)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address));
}

// A fragment, or this warp's rows of a tile, as the left side of products: 16 columns for each four words.
template <class T, int kEights>
struct Left {
  std::uint32_t words[kEights / 2][4];

  __device__ Left() {}
  __device__ explicit Left(const Fragment<kEights>& x) {
#pragma unroll
    for (int k = 0; k < kEights / 2; ++k) {
      words[k][0] = packed<T>(x[2 * k][0], x[2 * k][1]);
      words[k][1] = packed<T>(x[2 * k][2], x[2 * k][3]);
      words[k][2] = packed<T>(x[2 * k + 1][0], x[2 * k + 1][1]);
      words[k][3] = packed<T>(x[2 * k + 1][2], x[2 * k + 1][3]);
    }
  }

  __device__ explicit Left(const ResidentTile<8 * kEights>& x) {
#pragma unroll
    for (int k = 0; k < kEights / 2; ++k)
      load_matrices(words[k], x.address(kRowsOfWarp * warp() + lane() % 16, 2 * k + lane() / 16));
  }
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Where an operand lies, or what is some bytes behind it (PTX ISA, "Matrix Descriptor Format"): 128-byte swizzle, eight
// rows 1024 bytes after the eight before. panel_bytes: from one panel of 64 columns to the next, where columns are
// those of the result.
class Operand {
 public:
  template <class Rows>
  __device__ Operand(const Rows& tile, int row, int column_chunk, int panel_bytes)
      : low_(tile.address(row, column_chunk) >> 4 | static_cast<std::uint32_t>(panel_bytes >> 4) << 16) {}
  __device__ std::uint64_t at(int bytes) const {
    constexpr std::uint64_t kSwizzle128 = std::uint64_t{1} << 62, kEightRows = 1024;
    return kSwizzle128 | (kEightRows >> 4) << 32 | (low_ + static_cast<std::uint32_t>(bytes >> 4));
  }

 private:
  std::uint32_t low_;
};

// clang-format off
#define RT_OUT4(x, i) "+f"(x[i][0]), "+f"(x[i][1]), "+f"(x[i][2]), "+f"(x[i][3])
#define RT_OUT32(x, i) RT_OUT4(x, i), RT_OUT4(x, i + 1), RT_OUT4(x, i + 2), RT_OUT4(x, i + 3), RT_OUT4(x, i + 4), RT_OUT4(x, i + 5), RT_OUT4(x, i + 6), RT_OUT4(x, i + 7)
#define RT_NAMES32 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define RT_NAMES64 RT_NAMES32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
// clang-format on

// c = a b^T or c += a b^T, 64 columns, 16 numbers of each row.
template <class T>
__device__ void multiply_rows(Fragment<8>& c, std::uint64_t a, std::uint64_t b, int adds) {
  if constexpr (std::is_same_v<T, __half>) {
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %34, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" RT_NAMES32
        "}, %32, %33, p, 1, 1, 0, 0; }\n"
        : RT_OUT32(c, 0)
        : "l"(a), "l"(b), "r"(adds));
  } else {
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %34, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" RT_NAMES32
        "}, %32, %33, p, 1, 1, 0, 0; }\n"
        : RT_OUT32(c, 0)
        : "l"(a), "l"(b), "r"(adds));
  }
}

template <class T>
__device__ void multiply_rows(Fragment<8>& c, const std::uint32_t (&a)[4], std::uint64_t b, int adds) {
  if constexpr (std::is_same_v<T, __half>) {
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %37, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" RT_NAMES32
        "}, {%32,%33,%34,%35}, %36, p, 1, 1, 0; }\n"
        : RT_OUT32(c, 0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds));
  } else {
    asm volatile(
        "{ .reg .pred p; setp.ne.b32 p, %37, 0; wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" RT_NAMES32
        "}, {%32,%33,%34,%35}, %36, p, 1, 1, 0; }\n"
        : RT_OUT32(c, 0)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds));
  }
}

// c += a b, 16 rows of b.
template <class T>
__device__ void multiply_columns(Fragment<8>& c, const std::uint32_t (&a)[4], std::uint64_t b) {
  if constexpr (std::is_same_v<T, __half>) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" RT_NAMES32
                 "}, {%32,%33,%34,%35}, %36, 1, 1, 1, 1;\n"
                 : RT_OUT32(c, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
  } else {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" RT_NAMES32
                 "}, {%32,%33,%34,%35}, %36, 1, 1, 1, 1;\n"
                 : RT_OUT32(c, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
  }
}

template <class T>
__device__ void multiply_columns(Fragment<16>& c, const std::uint32_t (&a)[4], std::uint64_t b) {
  if constexpr (std::is_same_v<T, __half>) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" RT_NAMES64
                 "}, {%64,%65,%66,%67}, %68, 1, 1, 1, 1;\n"
                 : RT_OUT32(c, 0), RT_OUT32(c, 8)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
  } else {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" RT_NAMES64
                 "}, {%64,%65,%66,%67}, %68, 1, 1, 1, 1;\n"
                 : RT_OUT32(c, 0), RT_OUT32(c, 8)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
  }
}

#undef RT_OUT4
#undef RT_OUT32
#undef RT_NAMES32
#undef RT_NAMES64

// The compiler knows nothing of registers in flight: these keep what is computed of them on its side of a fence.
template <int kEights>
__device__ void hold(Fragment<kEights>& x) {
#pragma unroll
  for (int i = 0; i < kEights; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) asm volatile("" : "+f"(x[i][j])::"memory");
  }
}

template <class T, int kEights>
__device__ void hold(Left<T, kEights>& x) {
#pragma unroll
  for (int i = 0; i < kEights / 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) asm volatile("" : "+r"(x.words[i][j])::"memory");
  }
}

// With all that the products read and write in registers.
template <class... Operands>
__device__ void begin_products(Operands&... operands) {
  (hold(operands), ...);
  asm volatile("wgmma.fence.sync.aligned;\n" ::: "memory");
}

// What was begun before is a group.
__device__ inline void end_products() { asm volatile("wgmma.commit_group.sync.aligned;\n" ::: "memory"); }

// Waits for all groups but the last kLater.
template <int kLater, class... Operands>
__device__ void wait_for_products(Operands&... operands) {
  asm volatile("wgmma.wait_group.sync.aligned %0;\n" ::"n"(kLater) : "memory");
  (hold(operands), ...);
}

// Two groups of four warps take turns at beginning products, the first first: while tensor cores work for one, the
// other computes. Each gives the turn as often as it waits for it, and the second once more, by first_turn().
__device__ inline void wait_for_turn() { asm volatile("bar.sync %0, 256;\n" ::"r"(1 + warp() / 4) : "memory"); }
__device__ inline void give_turn() { asm volatile("bar.arrive %0, 256;\n" ::"r"(2 - warp() / 4) : "memory"); }
__device__ inline void first_turn() {
  if (warp() / 4 == 1) give_turn();
}

// c = a b^T: this warp's 16 rows of a, all rows of b.
template <class T, int kSize>
__device__ void product_of_rows(Fragment<kStreamed / 8>& c, const ResidentTile<kSize>& a,
                                const StreamedTile<kSize>& b) {
  const Operand left(a, warp() / 4 * 64, 0, 16), right(b, 0, 0, 16);
#pragma unroll
  for (int k = 0; k < kSize / 16; ++k) {
    const int panel = k / 4, bytes = k % 4 * 32;
    multiply_rows<T>(c, left.at(panel * a.kPanelBytes + bytes), right.at(panel * b.kPanelBytes + bytes), k);
  }
}

template <class T, int kSize>
__device__ void product_of_rows(Fragment<kStreamed / 8>& c, const Left<T, kSize / 8>& a, const StreamedTile<kSize>& b) {
  const Operand right(b, 0, 0, 16);
#pragma unroll
  for (int k = 0; k < kSize / 16; ++k) multiply_rows<T>(c, a.words[k], right.at(k / 4 * b.kPanelBytes + k % 4 * 32), k);
}

// c += p b.
template <class T, int kSize>
__device__ void add_product(Fragment<kSize / 8>& c, const Left<T, kStreamed / 8>& p, const StreamedTile<kSize>& b) {
  const Operand right(b, 0, 0, b.kPanelBytes);
#pragma unroll
  for (int k = 0; k < kStreamed / 16; ++k) multiply_columns<T>(c, p.words[k], right.at(16 * k * 128));
}

#else

__device__ inline void load_matrices_transposed(std::uint32_t (&m)[4], std::uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(address));
}

template <class T>
__device__ void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  if constexpr (std::is_same_v<T, __half>) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

template <class... Operands>
__device__ void begin_products(Operands&...) {}
__device__ inline void end_products() {}
template <int kLater, class... Operands>
__device__ void wait_for_products(Operands&...) {}
template <int kEights>
__device__ void hold(Fragment<kEights>&) {}
__device__ inline void wait_for_turn() {}
__device__ inline void give_turn() {}
__device__ inline void first_turn() {}

template <class T, int kSize>
__device__ void product_of_rows(Fragment<kStreamed / 8>& c, const Left<T, kSize / 8>& a, const StreamedTile<kSize>& b) {
  clear<kStreamed / 8>(c);
  const int l = lane();
#pragma unroll
  for (int k = 0; k < kSize / 16; ++k) {
#pragma unroll
    for (int n = 0; n < kStreamed / 8; n += 2) {
      std::uint32_t right[4];
      load_matrices(right, b.address(8 * n + l % 8 + 8 * (l / 16), 2 * k + l / 8 % 2));
      multiply<T>(c[n], a.words[k], right[0], right[1]);
      multiply<T>(c[n + 1], a.words[k], right[2], right[3]);
    }
  }
}

template <class T, int kSize>
__device__ void product_of_rows(Fragment<kStreamed / 8>& c, const ResidentTile<kSize>& a,
                                const StreamedTile<kSize>& b) {
  product_of_rows<T, kSize>(c, Left<T, kSize / 8>(a), b);
}

template <class T, int kSize>
__device__ void add_product(Fragment<kSize / 8>& c, const Left<T, kStreamed / 8>& p, const StreamedTile<kSize>& b) {
  const int l = lane();
#pragma unroll
  for (int k = 0; k < kStreamed / 16; ++k) {
#pragma unroll
    for (int n = 0; n < kSize / 8; n += 2) {
      std::uint32_t right[4];
      load_matrices_transposed(right, b.address(16 * k + l % 8 + 8 * (l / 8 % 2), n + l / 16));
      multiply<T>(c[n], p.words[k], right[0], right[1]);
      multiply<T>(c[n + 1], p.words[k], right[2], right[3]);
    }
  }
}

#endif

}  // namespace ringtron::fused
