// The CPU build's half of the kernels of Mamba layers, as no_cuda.cpp is that of others. By themselves, so that a test
// which compiles these kernels for the host may bring its own.
#include "ringtron/base/check.h"
#include "ringtron/kernels/causal_conv/causal_conv_params.h"
#include "ringtron/kernels/gated_norm/gated_norm_params.h"
#include "ringtron/kernels/ssd_scan/ssd_params.h"

namespace ringtron {
namespace {

[[noreturn]] void refuse() { RT_CHECK(false, "a CUDA kernel in a build without CUDA"); }

}  // namespace

void causal_conv_forward_cuda(const CausalConvParams&, void*) { refuse(); }
std::int64_t causal_conv_parts(std::int64_t, std::int64_t) { refuse(); }
void causal_conv_backward_cuda(const CausalConvParams&, void*) { refuse(); }
void gated_norm_forward_cuda(const GatedNormParams&, void*) { refuse(); }
int gated_norm_parts(std::int64_t, int, int, int) { refuse(); }
void gated_norm_backward_cuda(const GatedNormParams&, void*) { refuse(); }
void ssd_steps_cuda(const SsdStepsParams&, void*) { refuse(); }
void ssd_walk_cuda(const SsdWalkParams&, void*) { refuse(); }
void ssd_both_walks_cuda(const SsdBothWalksParams&, void*) { refuse(); }
void ssd_enter_cuda(const SsdEnterParams&, void*) { refuse(); }
void ssd_join_cuda(const SsdJoinParams&, void*) { refuse(); }
void ssd_output_cuda(const SsdOutputParams&, void*) { refuse(); }
void ssd_gradient_cuda(const SsdGradientParams&, void*) { refuse(); }

}  // namespace ringtron
