// The CPU build's half of the kernels. No tensor is on a GPU there, so only a fault of our own gets into one of these.
#include <ATen/ATen.h>

#include "ringtron/base/check.h"
#include "ringtron/kernels/attention_dropout/attention_dropout_params.h"
#include "ringtron/kernels/copy_rows/copy_rows_params.h"
#include "ringtron/kernels/device/current_stream.h"
#include "ringtron/kernels/dropout/dropout_params.h"
#include "ringtron/kernels/fused_attention/fused_attention.h"
#include "ringtron/kernels/softmax_merge/softmax_merge_params.h"
#include "ringtron/kernels/sum_parts/sum_parts_params.h"

namespace ringtron {
namespace {

[[noreturn]] void refuse() { RT_CHECK(false, "a CUDA kernel in a build without CUDA"); }

}  // namespace

void* current_cuda_stream() { refuse(); }

void attention_dropout_cuda(const AttentionDropoutParams&, bool, void*) { refuse(); }
void copy_rows_cuda(const CopyRowsParams&, void*) { refuse(); }
void dropout_cuda(const DropoutParams&, DropoutType, void*) { refuse(); }
void softmax_merge_cuda(const SoftmaxMergeParams&, void*) { refuse(); }
void sum_parts_cuda(const SumPartsParams&, void*) { refuse(); }

bool fused_attention_supports(const at::Tensor&, const at::Tensor&, const at::Tensor&) { return false; }

FusedAttentionResult fused_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&, const FusedAttentionOptions&) {
  refuse();
}

FusedAttentionGradient fused_attention_backward(const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                const at::Tensor&, const FusedAttentionOptions&) {
  refuse();
}

}  // namespace ringtron
