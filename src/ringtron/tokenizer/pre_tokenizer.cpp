#include "ringtron/tokenizer/pre_tokenizer.h"

#include "ringtron/tokenizer/pipeline/character_scanner.h"

namespace ringtron {
namespace {

// Length of 's 't 're 've 'm 'll 'd at 0; 0 if there is none.
std::size_t contraction(std::string_view text) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  const char a = text[1];
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if (text.size() < 3) return 0;
  const char b = text[2];
  return ((a == 'r' || a == 'v') && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

}  // namespace

std::size_t first_word_length(std::string_view text) {
  if (const std::size_t length = contraction(text)) return length;
  const CharacterScanner scanner(text);
  std::size_t begin = 0;
  if (text[0] == ' ' && text.size() > 1 && scanner.at(1).kind() != CharacterKind::space) begin = 1;
  const CharacterKind kind = scanner.at(begin).kind();
  return kind == CharacterKind::space ? scanner.space_word_end(0) : scanner.run_end(begin, kind);
}

}  // namespace ringtron
