#include "ringtron/hugging_face/transpose.h"

#include <algorithm>
#include <cstring>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// In tiles, so that lines of both matrices stay in the cache. Bytes are moved by memcpy: a file's tensors need not be
// aligned.
template <std::size_t kElement>
void transpose(const std::byte* from, std::int64_t from_width, std::byte* to, std::int64_t rows, std::int64_t columns) {
  constexpr std::int64_t kTile = 32;
  for (std::int64_t r0 = 0; r0 < rows; r0 += kTile) {
    for (std::int64_t c0 = 0; c0 < columns; c0 += kTile) {
      for (std::int64_t r = r0; r < std::min(rows, r0 + kTile); ++r) {
        for (std::int64_t c = c0; c < std::min(columns, c0 + kTile); ++c) {
          std::memcpy(to + static_cast<std::size_t>(r * columns + c) * kElement,
                      from + static_cast<std::size_t>(c * from_width + r) * kElement, kElement);
        }
      }
    }
  }
}

}  // namespace

void transpose_block(std::span<const std::byte> from, std::int64_t from_width, std::span<std::byte> to,
                     std::int64_t to_width, std::size_t element) {
  if (to.empty()) return;
  const auto rows = static_cast<std::int64_t>(to.size() / element) / to_width;
  RT_CHECK_LE(static_cast<std::size_t>((to_width - 1) * from_width + rows) * element, from.size(),
              "bytes of a matrix that is transposed");
  switch (element) {
    case 2:
      return transpose<2>(from.data(), from_width, to.data(), rows, to_width);
    case 4:
      return transpose<4>(from.data(), from_width, to.data(), rows, to_width);
    case 8:
      return transpose<8>(from.data(), from_width, to.data(), rows, to_width);
    default:
      RT_CHECK(false, "elements of {} bytes are not transposed", element);
  }
}

}  // namespace ringtron
