// The types that fused kernels read and write, told from host to device.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "ringtron/kernels/device/element_type.h"

namespace ringtron {

// nullopt: a type that these kernels do not know.
inline std::optional<Element> element_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return Element::f32;
    case at::kHalf:
      return Element::f16;
    case at::kBFloat16:
      return Element::bf16;
    default:
      return std::nullopt;
  }
}

}  // namespace ringtron
