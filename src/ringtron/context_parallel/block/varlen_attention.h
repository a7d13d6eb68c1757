// Variable-length attention (packed sequences): many tiles of a block in one call, which documents need, whose tiles
// are small and many. An optional part of a BlockAttention; letters and shapes as in block_attention.h.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "ringtron/context_parallel/schedule/varlen_batches.h"

namespace ringtron {

struct BlockResult;
struct BlockGradient;
struct OutputGradient;

class VarlenAttention {
 public:
  virtual ~VarlenAttention() = default;

  // Whether batches of these heads and types can be computed; looks at nothing else.
  virtual bool supports(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, Pass pass) const = 0;

  // q, k, v: the rows of the batch's launch, all samples. out is 0 and lse -inf where no tile has the row.
  virtual BlockResult forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                              const std::shared_ptr<const VarlenBatch>& batch, double scale) const = 0;
  // The tiles' share of the gradients; 0 in rows that no tile has.
  virtual BlockGradient backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const OutputGradient& output, const std::shared_ptr<const VarlenBatch>& batch,
                                 double scale) const = 0;
};

// By cuDNN's varlen graphs; bf16 and fp16. With `deterministic` it does no backward: cuDNN's needs workspace that grows
// with the square of the longest tile times their number. Throws ConfigError in a CPU build.
std::unique_ptr<VarlenAttention> make_cudnn_varlen_attention(bool deterministic);

}  // namespace ringtron
