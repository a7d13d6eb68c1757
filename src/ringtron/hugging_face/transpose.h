// A block of a matrix with rows and columns exchanged, of elements of any size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ringtron {

// to[r][c] = from[c][r]: `to` is [rows, to_width], whole; row c of the source begins at element c * from_width of
// `from`. Elements of 2, 4 or 8 bytes. The two do not overlap.
void transpose_block(std::span<const std::byte> from, std::int64_t from_width, std::span<std::byte> to,
                     std::int64_t to_width, std::size_t element);

}  // namespace ringtron
