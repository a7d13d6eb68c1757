// Checksums and content hashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ringtron {

// XXH3-64 of `bytes`; the same on every machine.
std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed = 0);
std::uint64_t hash64(std::string_view text, std::uint64_t seed = 0);

// 16 lower-case hex digits.
std::string hex64(std::uint64_t value);

}  // namespace ringtron
