// The CPU build's half of the kernels. No tensor is on a GPU there, so only a fault of our own gets into one of these.
#include <ATen/ATen.h>

#include "ringtron/base/check.h"
#include "ringtron/kernels/activation/activation_params.h"
#include "ringtron/kernels/adamw/adamw_params.h"
#include "ringtron/kernels/attention_dropout/attention_dropout_params.h"
#include "ringtron/kernels/copy_rows/copy_rows_params.h"
#include "ringtron/kernels/cross_entropy/cross_entropy_params.h"
#include "ringtron/kernels/device/current_stream.h"
#include "ringtron/kernels/device/fused.h"
#include "ringtron/kernels/dropout/dropout_params.h"
#include "ringtron/kernels/embedding/embedding_gradient_params.h"
#include "ringtron/kernels/fused_attention/fused_attention.h"
#include "ringtron/kernels/initial_weights/initial_weights_params.h"
#include "ringtron/kernels/norm/norm_params.h"
#include "ringtron/kernels/qkv/qkv_params.h"
#include "ringtron/kernels/softmax_merge/softmax_merge_params.h"
#include "ringtron/kernels/sum_of_squares/sum_of_squares_params.h"
#include "ringtron/kernels/sum_parts/sum_parts_params.h"

namespace ringtron {
namespace {

[[noreturn]] void refuse() { RT_CHECK(false, "a CUDA kernel in a build without CUDA"); }

}  // namespace

void* current_cuda_stream() { refuse(); }

bool fused_on_gpu(std::initializer_list<at::Tensor>) { return false; }
int multiprocessors(const at::Tensor&) { refuse(); }

void activation_forward_cuda(const ActivationParams&, void*) { refuse(); }
void activation_backward_cuda(const ActivationParams&, void*) { refuse(); }
void adamw_cuda(const AdamwParams&, void*) { refuse(); }
void attention_dropout_cuda(const AttentionDropoutParams&, bool, void*) { refuse(); }
void copy_rows_cuda(const CopyRowsParams&, void*) { refuse(); }
void cross_entropy_forward_cuda(const CrossEntropyForwardParams&, void*) { refuse(); }
void cross_entropy_backward_cuda(const CrossEntropyBackwardParams&, void*) { refuse(); }
void dropout_cuda(const DropoutParams&, DropoutType, void*) { refuse(); }
void embedding_gradient_cuda(const EmbeddingGradientParams&, void*) { refuse(); }
void initial_weights_cuda(const InitialWeightsParams&, void*) { refuse(); }
void norm_forward_cuda(const NormForwardParams&, void*) { refuse(); }
int norm_backward_parts(const NormShape&, int) { refuse(); }
void norm_backward_cuda(const NormBackwardParams&, void*) { refuse(); }
void split_qkv_cuda(const QkvParams&, void*) { refuse(); }
void join_qkv_cuda(const QkvParams&, void*) { refuse(); }
void softmax_merge_cuda(const SoftmaxMergeParams&, void*) { refuse(); }
void sum_of_squares_cuda(const SumOfSquaresParams&, void*) { refuse(); }
void sum_parts_cuda(const SumPartsParams&, void*) { refuse(); }

bool fused_attention_supports(const at::Tensor&, const at::Tensor&, const at::Tensor&) { return false; }

FusedAttentionResult fused_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                     const FusedAttentionOptions&) {
  refuse();
}

FusedAttentionGradient fused_attention_backward(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                const FusedAttentionOptions&) {
  refuse();
}

}  // namespace ringtron
