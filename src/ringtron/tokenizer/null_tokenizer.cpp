#include "ringtron/tokenizer/null_tokenizer.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {

NullTokenizer::NullTokenizer(std::int64_t vocab_size) : vocab_size_(vocab_size) {
  if (vocab_size < 1 || vocab_size > std::numeric_limits<std::int32_t>::max()) {
    throw ConfigError(
        fmt::format("NullTokenizer: expected --vocab-size from 1 to {}, got {}. Pass the number of ids "
                    "in your data plus one for the end of a document",
                    std::numeric_limits<std::int32_t>::max(), vocab_size));
  }
}

std::vector<std::int32_t> NullTokenizer::encode(std::string_view text) const {
  constexpr std::string_view kSeparators = " \t\n\r\f\v";
  std::vector<std::int32_t> ids;
  std::size_t begin = 0;
  while ((begin = text.find_first_not_of(kSeparators, begin)) != std::string_view::npos) {
    const std::size_t end = std::min(text.find_first_of(kSeparators, begin), text.size());
    std::int64_t id = -1;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, id);
    if (error != std::errc() || stop != text.data() + end || id < 0 || id >= vocab_size_) {
      throw ConfigError(
          fmt::format("NullTokenizer: expected integers from 0 to {} separated by spaces, got '{}' at "
                      "byte {}. Correct the text or raise --vocab-size",
                      vocab_size_ - 1, excerpt(text.substr(begin, end - begin), 40), begin));
    }
    ids.push_back(static_cast<std::int32_t>(id));
    begin = end;
  }
  return ids;
}

std::string NullTokenizer::decode(std::span<const std::int32_t> ids) const {
  std::string text;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= vocab_size_) {
      throw ConfigError(
          fmt::format("NullTokenizer: expected ids from 0 to {}, got {}. Was the data made with a larger "
                      "--vocab-size?",
                      vocab_size_ - 1, id));
    }
    if (!text.empty()) text += ' ';
    text += std::to_string(id);
  }
  return text;
}

std::string NullTokenizer::description() const { return fmt::format("NullTokenizer vocab_size={}", vocab_size_); }

}  // namespace ringtron
