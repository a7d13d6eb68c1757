#include "ringtron/kernels/copy_rows/copy_rows.h"

#include <ATen/ATen.h>

#include <optional>

#include "ringtron/base/check.h"
#include "ringtron/kernels/copy_rows/copy_rows_params.h"
#include "ringtron/kernels/device/current_stream.h"

namespace ringtron {
namespace {

constexpr std::int64_t kUnit = 16;  // bytes that a thread moves at once

bool fits(const at::Tensor& x) {
  const std::int64_t bytes = static_cast<std::int64_t>(x.element_size());
  const bool whole_lines = x.stride(3) == 1 && (x.size(2) == 1 || x.stride(2) == x.size(3));
  const auto units = [&](std::int64_t elements) { return elements * bytes % kUnit == 0; };
  return whole_lines && units(x.size(2) * x.size(3)) && units(x.stride(0)) && units(x.stride(1)) &&
         reinterpret_cast<std::uintptr_t>(x.const_data_ptr()) % kUnit == 0;
}

std::optional<RowCopyJob> job_of(const RowCopy& copy) {
  if (!copy.to.is_cuda() || !fits(copy.to) || !fits(copy.from)) return std::nullopt;
  const auto units = [&](std::int64_t elements) {
    return elements * static_cast<std::int64_t>(copy.to.element_size()) / kUnit;
  };
  return RowCopyJob{copy.from.const_data_ptr(),
                    copy.to.mutable_data_ptr(),
                    copy.to.size(0),
                    copy.to.size(1),
                    units(copy.to.size(2) * copy.to.size(3)),
                    units(copy.from.stride(0)),
                    units(copy.from.stride(1)),
                    units(copy.to.stride(0)),
                    units(copy.to.stride(1))};
}

void launch(CopyRowsParams& params) {
  if (params.count > 0) copy_rows_cuda(params, current_cuda_stream());
  params.count = 0;
}

}  // namespace

void copy_rows(std::span<const RowCopy> copies) {
  CopyRowsParams params{};
  for (const RowCopy& copy : copies) {
    RT_CHECK(copy.to.sizes() == copy.from.sizes() && copy.to.scalar_type() == copy.from.scalar_type(),
             "rows are copied between tensors of one shape and type");
    if (copy.to.numel() == 0) continue;
    if (const std::optional<RowCopyJob> job = job_of(copy)) {
      params.jobs[params.count++] = *job;
      if (params.count == CopyRowsParams::kMost) launch(params);
      continue;
    }
    copy.to.copy_(copy.from);
  }
  launch(params);
}

}  // namespace ringtron
