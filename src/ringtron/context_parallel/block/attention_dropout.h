// Dropout of attention probabilities that does not depend on how the work is divided.
//
// Probability (sample, head, query position, key position) is dropped when its 15 bits of Philox4x32-7 are below p *
// 2^15, rounded: p is a multiple of 1/32,768. The bits are a pure function of (key, sample number, global head, global
// query position, global key position): stream sample * 2^20 + head, block query * 2^32 + key / 8, of word key % 8 / 2
// the lower half's for an even key and the upper's for an odd one, without the top bit. So no layout of processes
// changes it, and nothing is kept for the backward.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/kernels/fused_attention/fused_attention.h"

namespace ringtron {

struct AttentionDropout {
  double p = 0.0;                            // in [0, 1)
  std::uint64_t key = 0;                     // mixed from seed, step and layer
  std::vector<std::int64_t> sample_numbers;  // [b]: number of each sample in the whole run, below 2^44
  std::int64_t head_offset = 0;              // global number of this rank's first query head; heads below 2^20
};

// The same for a fused kernel: what it needs on the device, by the current stream, without waiting for it.
FusedDropout fused_dropout(const AttentionDropout& dropout, std::int64_t heads, std::span<const PositionRange> queries,
                           std::span<const PositionRange> keys, at::Device device);

// What the probabilities are multiplied with: [b, heads, queries, keys] of the type and on the device of `like`, fp32
// or fp64; 0 where dropped and 1 / (1 - p) elsewhere. `queries` and `keys` are the global positions of the rows and
// columns. On a GPU the work is put on the current stream; the bits are those of the CPU.
at::Tensor attention_dropout_factors(const AttentionDropout& dropout, std::int64_t heads,
                                     std::span<const PositionRange> queries, std::span<const PositionRange> keys,
                                     const at::TensorOptions& like);

}  // namespace ringtron
