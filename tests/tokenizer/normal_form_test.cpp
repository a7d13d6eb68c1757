// NFC only maps what it must: equal to mapping the whole text, on random texts.
#include "ringtron/tokenizer/pipeline/normal_form.h"

#include <gtest/gtest.h>
#include <utf8proc.h>

#include <cstdlib>

#include "ringtron/base/random.h"
#include "ringtron/tokenizer/pipeline/utf8.h"

namespace ringtron {
namespace {

std::string whole(const std::string& text) {
  utf8proc_uint8_t* raw = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), std::ssize(text), &raw,
                                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  std::string out(reinterpret_cast<const char*>(raw), static_cast<std::size_t>(length));
  std::free(raw);
  return out;
}

TEST(NormalForm, NfcOfPiecesIsNfc) {
  constexpr char32_t kParts[] = {'e',    'a',    'q',    0x301,  0x30A,  0x323,  0x327,  0xE9,
                                 0x1E9B, 0x212B, 0x1100, 0x1161, 0x11A8, 0xAC00, 0x915,  0x93C,
                                 0x9C7,  0x9BE,  0x3042, 0x3099, 0x2126, 0x344,  0xFB2A, 0x1D15E};
  constexpr char32_t kFirst = 0xA0, kCount = 0x700 - kFirst;  // old enough that every library knows them
  int changed = 0;
  for (std::uint64_t stream = 0; stream < 20000; ++stream) {
    std::string text;
    for (std::uint64_t i = 0; i < 1 + stream % 9; ++i) {
      const std::uint64_t word = random_word(5, stream, i);
      char32_t c = kParts[(word >> 8) % std::size(kParts)];
      if (word % 4 == 0) c = kFirst + static_cast<char32_t>((word >> 8) % kCount);
      append_utf8(c, text);
    }
    ASSERT_EQ(normalized(text, NormalForm::nfc), whole(text)) << text;
    changed += whole(text) != text;
  }
  EXPECT_GT(changed, 1000);
}

// As the tokenizers library has it: U+08CA is a mark of Unicode 14, and does not change places with U+0323.
TEST(NormalForm, MarksAfterUnicode9StayWhereTheyAre) {
  EXPECT_EQ(normalized("a\u08ca\u0323", NormalForm::nfc), "a\u08ca\u0323");
  EXPECT_EQ(normalized("a\u0301\u0323", NormalForm::nfc), "\u1ea1\u0301");
}

TEST(NormalForm, FormsAndSmallLetters) {
  EXPECT_EQ(normalized("e\u0301 \ufb01", NormalForm::nfc), "\u00e9 \ufb01");
  EXPECT_EQ(normalized("\u00e9", NormalForm::nfd), "e\u0301");
  EXPECT_EQ(normalized("\ufb01\u2167", NormalForm::nfkc), "fiVIII");
  EXPECT_EQ(small_letters("ABC \u00c9\u0130\u03a3"), "abc \u00e9i\u0307\u03c3");
}

TEST(Utf8, OnlyWhatIsNoUtf8IsReplaced) {
  std::string storage;
  const std::string good = "abcdefghij \u00e9\u6771\U0001f600";
  EXPECT_EQ(valid_utf8(good, storage).data(), good.data());
  EXPECT_EQ(valid_utf8("a\xff z\xc3", storage), "a\ufffd z\ufffd");
  EXPECT_EQ(valid_utf8("0123456789\xed\xa0\x80", storage), "0123456789\ufffd\ufffd\ufffd");
}

}  // namespace
}  // namespace ringtron
