// Proof that somebody knows a secret, without saying it: HMAC-SHA-256 (RFC 2104, FIPS 180-4).
#pragma once

#include <string>
#include <string_view>

namespace ringtron {

// 32 bytes. Only who has `key` can compute it. Any lengths, empty included.
std::string keyed_hash(std::string_view key, std::string_view text);

// Compares without telling by its time where two texts differ.
bool equal_in_constant_time(std::string_view a, std::string_view b);

// `count` bytes that nobody can guess. Throws IoError where the system has none.
std::string random_bytes(std::size_t count);

// Two lower-case hex digits a byte.
std::string hex(std::string_view bytes);

}  // namespace ringtron
