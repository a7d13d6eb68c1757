// Element types of tensors on disk, under their safetensors names.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace ringtron {

enum class DType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

std::size_t size_of(DType dtype);       // bytes of one element
std::string_view name_of(DType dtype);  // "F64", "BF16", "BOOL", ...
std::optional<DType> dtype_named(std::string_view name);

}  // namespace ringtron
