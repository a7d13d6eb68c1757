// What the fused attention kernels need of a row many times is found once before: the statistics of a query as the
// backward uses them, and what dropout makes of a query and of a block of keys alone.
#include <cuda_runtime.h>

#include <algorithm>

#include "ringtron/kernels/fused_attention/attention_tile.cuh"
#include "ringtron/kernels/fused_attention/launch.cuh"

namespace ringtron {
namespace {

__device__ QueryRow query_row(const FusedAttentionParams& p, int query, int sample, int head, std::uint64_t stream) {
  QueryRow row{{}, INFINITY, 0.0f};
  if (p.drops) row.part = query_part(p.dropout_key, stream, p.query_positions[min(query, p.s_q - 1)]);
  if (p.delta == nullptr || query >= p.s_q) return row;
  const std::int64_t at = (static_cast<std::int64_t>(sample) * p.heads + head) * p.s_q + query;
  if (p.lse[at] != -INFINITY) row.lse = p.lse[at] * fused::kLog2E - log2f(p.keep);
  row.delta = p.delta[at] / p.keep;
  return row;
}

// Rows beyond the last have any positions.
__global__ void prepare_kernel(const __grid_constant__ FusedAttentionParams p) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int head = static_cast<int>(blockIdx.y), sample = static_cast<int>(blockIdx.z);
  const std::int64_t line = static_cast<std::int64_t>(sample) * p.heads + head;
  const std::uint64_t stream = p.drops ? attention_dropout_stream(p.samples[sample], p.head_offset + head) : 0;
  if (i < query_rows(p.s_q)) p.query_rows[line * query_rows(p.s_q) + i] = query_row(p, i, sample, head, stream);
  if (p.drops && i < key_blocks(p.s_kv)) {
    const std::int64_t position = p.key_positions[min(kKeysOfBlock * i, p.s_kv - 1)];
    p.key_blocks[line * key_blocks(p.s_kv) + i] = block_part(p.dropout_key, stream, position / kKeysOfBlock);
  }
}

}  // namespace

int fused_attention_prepare_cuda(const FusedAttentionParams& params, void* stream) {
  constexpr int kThreads = 256;
  const std::int64_t rows = std::max(query_rows(params.s_q), params.drops ? key_blocks(params.s_kv) : 0);
  const dim3 grid(static_cast<unsigned>((rows + kThreads - 1) / kThreads), static_cast<unsigned>(params.heads),
                  static_cast<unsigned>(params.batch));
  prepare_kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(params);
  return cudaGetLastError();
}

}  // namespace ringtron
