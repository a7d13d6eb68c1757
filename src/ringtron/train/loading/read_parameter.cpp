#include "ringtron/train/loading/read_parameter.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "ringtron/base/check.h"

namespace ringtron {

std::optional<at::ScalarType> type_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return at::kDouble;
    case DType::f32:
      return at::kFloat;
    case DType::bf16:
      return at::kBFloat16;
    case DType::f16:
      return at::kHalf;
    default:
      return std::nullopt;
  }
}

void read_parameter(const ReadSlab& read, at::ScalarType stored, const Parameter& parameter, const at::Tensor& target,
                    const Job& job) {
  std::int64_t filled = 0;  // elements of `target`, which may have had no values before
  for (const LocalSlab& local : slabs_of(parameter, job)) {
    auto sizes = target.sizes().vec();
    sizes[static_cast<std::size_t>(local.slab.dim)] = local.slab.length;
    at::Tensor host = at::empty(sizes, at::TensorOptions().dtype(stored));
    read(local.slab, bytes_of(host));
    target.narrow(local.slab.dim, local.local_offset, local.slab.length).copy_(host);
    filled += host.numel();
  }
  const std::int64_t padding =
      parameter.local_padding_rows == 0 ? 0 : parameter.local_padding_rows * (target.numel() / target.size(0));
  RT_CHECK_EQ(filled + padding, target.numel(),
              fmt::format("elements of {} that are read, and its padding", parameter.name));
}

bool fits(const Shape& stored, const Parameter& parameter, bool finetune) {
  const Shape wanted = logical_shape(parameter);
  if (stored == wanted) return true;
  const bool of_vocabulary =
      parameter.name.ends_with("word_embeddings.weight") || parameter.name == "output_layer.weight";
  return finetune && of_vocabulary && stored.size() == 2 && stored[0] > wanted[0] && stored[1] == wanted[1];
}

}  // namespace ringtron
