// The operator of context-parallel attention under those that people call: tensors as CpAttention wants them, options
// as plain words and numbers, so that torch.compile can keep them in a graph.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "ringtron/ops/attention_options.h"

namespace ringtron::ops {

// q: [s, b, n, d]; k: [s, b, g, d]; v: [s, b, g, d_v]; this rank's rows. Returns [s, b, n, d_v], with autograd.
// `cu_seqlens`: cumulative lengths of documents over the whole sequence, with b = 1. Collective over the group.
at::Tensor cp_attention_rows(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const std::optional<at::Tensor>& cu_seqlens, const AttentionOptions& options);

}  // namespace ringtron::ops
