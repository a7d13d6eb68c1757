// The CPU build's half of cudnn_attention.h.
#include "ringtron/base/error.h"
#include "ringtron/kernels/attention/cudnn_attention.h"

namespace ringtron {
namespace {

[[noreturn]] void refuse() {
  throw ConfigError(
      "attention through cuDNN: expected a build with CUDA, got a CPU build. Build the cuda preset, or keep "
      "the tensors on the CPU");
}

}  // namespace

class CudnnAttention::Impl {};

CudnnAttention::CudnnAttention() { refuse(); }
CudnnAttention::~CudnnAttention() = default;

CudnnAttentionResult CudnnAttention::forward(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                             const CudnnAttentionOptions&) {
  refuse();
}

CudnnAttentionGradient CudnnAttention::backward(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                const CudnnAttentionOutput&, const CudnnAttentionOptions&,
                                                CudnnAttentionGradient) {
  refuse();
}

std::size_t CudnnAttention::plans() const { return 0; }

}  // namespace ringtron
