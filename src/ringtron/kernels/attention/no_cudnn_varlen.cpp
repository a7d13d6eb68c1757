// The CPU build's half of cudnn_varlen_attention.h.
#include "ringtron/base/error.h"
#include "ringtron/kernels/attention/cudnn_varlen_attention.h"

namespace ringtron {
namespace {

[[noreturn]] void refuse() {
  throw ConfigError(
      "attention of documents through cuDNN: expected a build with CUDA, got a CPU build. Build the cuda "
      "preset, or keep the tensors on the CPU");
}

}  // namespace

bool cudnn_varlen_attention_supports(const at::Tensor&, const at::Tensor&, const at::Tensor&, std::string* reason) {
  if (reason) *reason = "this is a CPU build";
  return false;
}

UploadedTables upload_varlen_tables(std::vector<SampleTile>, bool, const at::Tensor&, const at::Tensor&) { refuse(); }

class CudnnVarlenAttention::Impl {};

CudnnVarlenAttention::CudnnVarlenAttention() { refuse(); }
CudnnVarlenAttention::~CudnnVarlenAttention() = default;

CudnnAttentionResult CudnnVarlenAttention::forward(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                   const UploadedTables&, double) {
  refuse();
}

CudnnAttentionGradient CudnnVarlenAttention::backward(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                                      const CudnnAttentionOutput&, const UploadedTables&, double) {
  refuse();
}

std::size_t CudnnVarlenAttention::plans() const { return 0; }

}  // namespace ringtron
