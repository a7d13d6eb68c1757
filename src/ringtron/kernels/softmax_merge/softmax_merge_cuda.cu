// The merge on the GPU: sixteen threads for each row of a head, one read of each part and one write.
#include <cuda_runtime.h>

#include "ringtron/kernels/device/vector8.cuh"
#include "ringtron/kernels/softmax_merge/softmax_merge_params.h"

namespace ringtron {
namespace {

constexpr int kLanes = 16;  // threads of one row
constexpr int kThreads = 128;

__device__ std::int64_t at(const SoftmaxMergePart& p, std::int64_t row, std::int64_t sample, std::int64_t head) {
  return row * p.row_stride + sample * p.sample_stride + head * p.head_stride;
}

__device__ std::int64_t lse_at(const SoftmaxMergePart& p, std::int64_t row, std::int64_t sample, std::int64_t head) {
  return row * p.lse_row_stride + sample * p.lse_sample_stride + head * p.lse_head_stride;
}

// exp(part - whole), 0 for a part without keys.
__device__ float weight(float part, float whole) { return part == -INFINITY ? 0.0f : expf(part - whole); }

// log(sum of exp(lse_i)) of up to kMost parts; `lse` becomes the weights of the parts.
template <int kParts>
__device__ float weights_of(float (&lse)[kParts]) {
  float most = -INFINITY;
  bool bad = false;
#pragma unroll
  for (const float x : lse) {
    most = fmaxf(most, x);
    bad = bad || x != x;  // fmaxf would hide a NaN
  }
  float sum = 0;
#pragma unroll
  for (const float x : lse) sum += x == -INFINITY ? 0.0f : expf(x - most);
  const float whole = bad ? NAN : (most == -INFINITY ? most : most + logf(sum));
#pragma unroll
  for (float& x : lse) x = weight(x, whole);
  return whole;
}

// Eight channels of a part: 16-bit ones as they are, so that the loads of all parts and heads are under way together.
template <bool kHalves>
struct Loaded;
template <>
struct Loaded<true> {
  uint4 bits;
  __device__ void load(const SoftmaxMergePart& part, std::int64_t at) { bits = load_bits8(part.out, at); }
  __device__ Vector8 value(const SoftmaxMergePart& part) const { return unpack8(bits, part.type); }
};
template <>
struct Loaded<false> {
  Vector8 x;
  __device__ void load(const SoftmaxMergePart& part, std::int64_t at) { x = load8(part.out, at, part.type); }
  __device__ Vector8 value(const SoftmaxMergePart&) const { return x; }
};

// A block for each row of each sample; threads in groups of kLanes, a group for every kHeads heads at a time. kHalves: no
// part is in fp32.
template <int kParts, int kHeads, bool kHalves>
__global__ void __launch_bounds__(kThreads) merge_kernel(const __grid_constant__ SoftmaxMergeParams p) {
  constexpr int kGroups = kThreads / kLanes;
  const int samples = static_cast<int>(p.samples), heads = static_cast<int>(p.heads), size = static_cast<int>(p.size);
  const int row = static_cast<int>(blockIdx.x) / samples, sample = static_cast<int>(blockIdx.x) % samples;
  const int lane = threadIdx.x % kLanes, group = static_cast<int>(threadIdx.x) / kLanes;
  bool has_row[kParts];
#pragma unroll
  for (int part = 0; part < kParts; ++part) {
    const std::int64_t part_row = row - p.parts[part].first_row;
    has_row[part] = part_row >= 0 && part_row < p.parts[part].rows;
  }
  for (int first = 0; first < heads; first += kHeads * kGroups) {
    // Exponentials cost more than all else here: each lane takes one of the group's heads, and the others get its weights.
    const int mine = first + lane % kHeads * kGroups + group;
    float own[kParts], weights[kHeads][kParts];
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const SoftmaxMergePart& from = p.parts[part];
      own[part] = has_row[part] && mine < heads ? from.lse[lse_at(from, row - from.first_row, sample, mine)] : -INFINITY;
    }
    const float lse = weights_of(own);
    __syncwarp();  // the whole may be the first part: all lanes have read its lse before one writes it
    if (lane < kHeads && mine < heads) p.whole.lse[lse_at(p.whole, row, sample, mine)] = lse;
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
#pragma unroll
      for (int part = 0; part < kParts; ++part) weights[h][part] = __shfl_sync(0xffffffffu, own[part], h, kLanes);
    }
    for (int i = lane * 8; i < size; i += kLanes * 8) {
      Loaded<kHalves> loaded[kHeads][kParts];
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        const int head = first + h * kGroups + group;
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          const SoftmaxMergePart& from = p.parts[part];
          if (has_row[part] && head < heads) loaded[h][part].load(from, at(from, row - from.first_row, sample, head) + i);
        }
      }
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        const int head = first + h * kGroups + group;
        if (head >= heads) continue;
        Vector8 sum{};
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          if (weights[h][part] == 0) continue;  // what a part without keys holds may be anything
          const Vector8 x = loaded[h][part].value(p.parts[part]);
#pragma unroll
          for (int j = 0; j < 8; ++j) sum.v[j] = fmaf(x.v[j], weights[h][part], sum.v[j]);
        }
        store8(p.whole.out, at(p.whole, row, sample, head) + i, p.whole.type, sum);
      }
    }
  }
}

template <int kParts, int kHeads>
void launch(const SoftmaxMergeParams& params, unsigned grid, cudaStream_t stream) {
  bool halves = true;
  for (int i = 0; i < params.count; ++i) halves = halves && params.parts[i].type != Element::f32;
  if (halves) {
    merge_kernel<kParts, kHeads, true><<<grid, kThreads, 0, stream>>>(params);
  } else {
    merge_kernel<kParts, 1, false><<<grid, kThreads, 0, stream>>>(params);
  }
}

}  // namespace

void softmax_merge_cuda(const SoftmaxMergeParams& params, void* stream) {
  const std::int64_t blocks = params.rows * params.samples;
  if (blocks == 0 || params.heads == 0) return;
  const auto s = static_cast<cudaStream_t>(stream);
  const auto grid = static_cast<unsigned>(blocks);
  if (params.count <= 1) return launch<1, 4>(params, grid, s);
  if (params.count == 2) return launch<2, 4>(params, grid, s);
  launch<SoftmaxMergeParams::kMost, 2>(params, grid, s);
}

}  // namespace ringtron
