// GPT-2's bytes_to_unicode, how it writes arbitrary bytes in a text file: one printable character for each byte.
//
// 33-126, 161-172 and 174-255 stand for themselves; the other 68 bytes, in ascending order, for U+0100,
// U+0101, ...
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace ringtron {

// The bytes in the order of their characters: GPT-2's ids 0..255.
std::array<unsigned char, 256> bytes_in_character_order();

// `bytes` as UTF-8 text of 1 or 2 bytes each.
std::string printable_from_bytes(std::string_view bytes);

// The reverse; nothing if `text` holds a character that stands for no byte (a special token, for example).
std::optional<std::string> bytes_from_printable(std::string_view text);

}  // namespace ringtron
