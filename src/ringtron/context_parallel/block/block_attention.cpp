#include "ringtron/context_parallel/block/block_attention.h"

#include <ATen/ATen.h>

namespace ringtron {

at::ScalarType accumulate_type(at::ScalarType type) { return type == at::kDouble ? at::kDouble : at::kFloat; }

at::Tensor row_sums(const at::Tensor& d_out, const at::Tensor& out) {
  const at::ScalarType type = accumulate_type(d_out.scalar_type());
  return (d_out.to(type) * out.to(type)).sum(-1).permute({1, 2, 0});
}

std::unique_ptr<BlockAttention> make_block_attention(c10::DeviceType device, at::ScalarType type, bool dropout,
                                                     bool deterministic) {
  const bool half = type == at::kBFloat16 || type == at::kHalf;
  if (device == c10::DeviceType::CUDA && half) {
    return dropout ? make_fused_cuda_block_attention() : make_cudnn_block_attention(deterministic);
  }
  const bool flash = type == at::kDouble || type == at::kFloat || type == at::kBFloat16;
  if (device == c10::DeviceType::CPU && flash && !dropout) return make_flash_cpu_block_attention();
  return make_composed_block_attention();
}

}  // namespace ringtron
