#include "ringtron/data/token_type.h"

namespace ringtron {

int item_size(TokenType type) {
  switch (type) {
    case TokenType::u8:
    case TokenType::i8:
      return 1;
    case TokenType::i16:
    case TokenType::u16:
      return 2;
    case TokenType::i32:
    case TokenType::f32:
      return 4;
    case TokenType::i64:
    case TokenType::f64:
      return 8;
  }
  return 0;
}

const char* type_name(TokenType type) {
  switch (type) {
    case TokenType::u8:
      return "uint8";
    case TokenType::i8:
      return "int8";
    case TokenType::i16:
      return "int16";
    case TokenType::i32:
      return "int32";
    case TokenType::i64:
      return "int64";
    case TokenType::f64:
      return "float64";
    case TokenType::f32:
      return "float32";
    case TokenType::u16:
      return "uint16";
  }
  return "unknown";
}

bool is_integer(TokenType type) { return item_size(type) > 0 && type != TokenType::f32 && type != TokenType::f64; }

TokenType token_type_for_vocab(std::int64_t vocab_size) { return vocab_size < 65500 ? TokenType::u16 : TokenType::i32; }

}  // namespace ringtron
