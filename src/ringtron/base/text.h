// Small text functions: splitting, nearest names for "did you mean", human sizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ringtron {

std::vector<std::string> split(std::string_view text, char separator);
std::string join(std::span<const std::string> parts, std::string_view separator);
std::string_view trim(std::string_view text);
std::string lower(std::string_view text);

// Edit distance (insert, delete, replace, swap of neighbours).
int edit_distance(std::string_view a, std::string_view b);

// Up to `count` of `known` nearest to `name`, best first; only those near enough to be a likely typing error.
std::vector<std::string> nearest_names(std::string_view name, std::span<const std::string> known, int count = 3);

// Bytes of the UTF-8 character that `text` begins with, 1 to 4; 0 if it begins with none (a broken or overlong
// sequence, a surrogate, the end).
std::size_t utf8_character(std::string_view text);

// Foreign text as a message may quote it: on one line, cut after about `limit` bytes with its whole length behind it;
// control characters and bytes that are no UTF-8 as \xNN.
std::string excerpt(std::string_view text, std::size_t limit = 100);

// 1536 -> "1.5 KiB".
std::string human_bytes(std::uint64_t bytes);

// 3911497 -> "3,911,497".
std::string grouped(std::int64_t number);

}  // namespace ringtron
