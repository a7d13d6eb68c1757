#include "ringtron/hugging_face/transpose.h"

#include <gtest/gtest.h>

#include <vector>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

template <class T>
void expect_transposed(std::int64_t rows, std::int64_t columns, std::int64_t width) {
  std::vector<T> from(static_cast<std::size_t>(columns * width)), to(static_cast<std::size_t>(rows * columns));
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<T>(i * 7 + 1);
  transpose_block(std::as_bytes(std::span(from)), width, std::as_writable_bytes(std::span(to)), columns, sizeof(T));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c)
      ASSERT_EQ(to[static_cast<std::size_t>(r * columns + c)], from[static_cast<std::size_t>(c * width + r)]);
  }
}

TEST(Transpose, AnySizes) {
  for (const std::int64_t rows : {1, 31, 32, 33, 70}) {
    for (const std::int64_t columns : {1, 32, 45}) {
      expect_transposed<std::uint16_t>(rows, columns, rows);
      expect_transposed<std::uint32_t>(rows, columns, rows + 5);
      expect_transposed<std::uint64_t>(rows, columns, rows);
    }
  }
}

TEST(Transpose, Nothing) { transpose_block({}, 4, {}, 4, 2); }

TEST(Transpose, RefusesASourceThatIsTooShort) {
  std::vector<std::uint32_t> from(11), to(12);
  EXPECT_THROW(transpose_block(std::as_bytes(std::span(from)), 4, std::as_writable_bytes(std::span(to)), 3, 4),
               InternalError);
}

}  // namespace
}  // namespace ringtron
