// Unicode's normal forms NFC, NFD, NFKC and NFKD, and small letters, by utf8proc.
#pragma once

#include <string>
#include <string_view>

namespace ringtron {

enum class NormalForm { nfc, nfd, nfkc, nfkd };

// `text` in its form. Requires: valid UTF-8. NFC passes over what it cannot change at the speed of reading.
std::string normalized(std::string_view text, NormalForm form);

// The same, but says whether anything changed: false leaves `out` as it is.
bool normalize(std::string_view text, NormalForm form, std::string& out);

// Every capital's small letter.
std::string small_letters(std::string_view text);

}  // namespace ringtron
