#include "ringtron/kernels/sum_of_squares/sum_of_squares.h"

#include <ATen/ATen.h>

#include "ringtron/kernels/device/fused.h"
#include "ringtron/kernels/sum_of_squares/sum_of_squares_params.h"

namespace ringtron {

std::optional<at::Tensor> sum_of_squares_fused(std::span<const at::Tensor> tensors) {
  std::int64_t blocks = 0;
  for (const at::Tensor& x : tensors) {
    if (!x.is_contiguous() || !fused_on_gpu({x})) return std::nullopt;
    blocks += (x.numel() + kSquaresBlock - 1) / kSquaresBlock;
  }
  if (tensors.empty()) return std::nullopt;
  const at::Tensor sums = at::empty({blocks}, tensors.front().options().dtype(at::kDouble).requires_grad(false));
  SumOfSquaresParams params{};
  params.sums = sums.mutable_data_ptr<double>();
  for (const at::Tensor& x : tensors) {
    const SquaredSegment segment{x.const_data_ptr(), x.numel(), 0, *element_of(x)};
    if (params.tensors.add(segment, kSquaresBlock)) continue;
    sum_of_squares_cuda(params, current_cuda_stream());
    params.sums += params.tensors.blocks;
    params.tensors = {};
    params.tensors.add(segment, kSquaresBlock);
  }
  sum_of_squares_cuda(params, current_cuda_stream());
  return sums.sum();
}

}  // namespace ringtron
