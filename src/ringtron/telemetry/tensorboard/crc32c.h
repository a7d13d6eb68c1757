// CRC-32C (Castagnoli), as the record framing of TensorBoard's files uses it.
#pragma once

#include <cstdint>
#include <string_view>

namespace ringtron {

std::uint32_t crc32c(std::string_view bytes);

// Rotated and shifted, so that a checksum over data that hold checksums does not degenerate.
std::uint32_t masked_crc32c(std::string_view bytes);

}  // namespace ringtron
