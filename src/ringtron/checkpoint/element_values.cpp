#include "ringtron/checkpoint/element_values.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace ringtron {
namespace {

double of_bf16(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

double of_f16(std::uint16_t bits) {
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  const int exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  if (exponent == 0x1f)
    return fraction == 0 ? sign * std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(fraction + 0x400, exponent - 25);
}

template <class T, class Convert>
std::vector<double> each(std::span<const std::byte> bytes, Convert convert) {
  std::vector<double> out(bytes.size() / sizeof(T));
  for (std::size_t i = 0; i < out.size(); ++i) {
    T element;
    std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
    out[i] = static_cast<double>(convert(element));
  }
  return out;
}

}  // namespace

std::vector<double> element_values(std::span<const std::byte> bytes, DType dtype) {
  const auto as_is = [](auto element) { return element; };
  switch (dtype) {
    case DType::f64:
      return each<double>(bytes, as_is);
    case DType::f32:
      return each<float>(bytes, as_is);
    case DType::f16:
      return each<std::uint16_t>(bytes, of_f16);
    case DType::bf16:
      return each<std::uint16_t>(bytes, of_bf16);
    case DType::i64:
      return each<std::int64_t>(bytes, as_is);
    case DType::i32:
      return each<std::int32_t>(bytes, as_is);
    case DType::i16:
      return each<std::int16_t>(bytes, as_is);
    case DType::i8:
      return each<std::int8_t>(bytes, as_is);
    case DType::u8:
    case DType::boolean:
      return each<std::uint8_t>(bytes, as_is);
  }
  return {};
}

}  // namespace ringtron
