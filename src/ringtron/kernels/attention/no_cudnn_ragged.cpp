// The CPU build's half of cudnn_ragged_attention.h.
#include "ringtron/base/error.h"
#include "ringtron/kernels/attention/cudnn_ragged_attention.h"

namespace ringtron {
namespace {

[[noreturn]] void refuse() {
  throw ConfigError(
      "attention of documents through cuDNN: expected a build with CUDA, got a CPU build. Build the cuda "
      "preset, or keep the tensors on the CPU");
}

}  // namespace

bool cudnn_ragged_attention_supports(const at::Tensor&, const at::Tensor&, const at::Tensor&, std::string* reason) {
  if (reason) *reason = "this is a CPU build";
  return false;
}

RaggedTileTables upload_ragged_tiles(std::vector<RaggedTile>, bool, const at::Tensor&, const at::Tensor&) { refuse(); }

class CudnnRaggedAttention::Impl {};

CudnnRaggedAttention::CudnnRaggedAttention() { refuse(); }
CudnnRaggedAttention::~CudnnRaggedAttention() = default;

CudnnAttentionResult CudnnRaggedAttention::forward(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                   const RaggedTileTables&, double) {
  refuse();
}

CudnnAttentionGradient CudnnRaggedAttention::backward(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                      const CudnnAttentionOutput&, const RaggedTileTables&, double) {
  refuse();
}

std::size_t CudnnRaggedAttention::plans() const { return 0; }

}  // namespace ringtron
