// The number types that a .bin file may hold, with the codes of Megatron's .idx header.
#pragma once

#include <cstdint>

namespace ringtron {

enum class TokenType : std::uint8_t {
  u8 = 1,
  i8 = 2,
  i16 = 3,
  i32 = 4,
  i64 = 5,
  f64 = 6,  // known to the format, never tokens
  f32 = 7,  // known to the format, never tokens
  u16 = 8,
};

// Bytes of one token; 0 for a code that the format does not have.
int item_size(TokenType type);

// "uint16" and so on, numpy's names; "unknown" for a code that the format does not have.
const char* type_name(TokenType type);

bool is_integer(TokenType type);

// The type that Megatron's preprocessing chooses: uint16 below 65,500 ids, int32 otherwise.
TokenType token_type_for_vocab(std::int64_t vocab_size);

}  // namespace ringtron
