#include "ringtron/base/shown_message.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/text.h"

namespace ringtron {

std::string shown_message(std::string_view message, std::size_t word_limit) {
  std::string out;
  out.reserve(message.size());
  while (!message.empty()) {
    const std::size_t word = std::min(message.find_first_of(" \n\t"), message.size());
    out += excerpt(message.substr(0, word), word_limit);
    if (word < message.size()) out += message[word];
    message.remove_prefix(std::min(word + 1, message.size()));
  }
  return out;
}

std::string numbered(std::span<const std::string> messages, std::size_t most) {
  std::string out;
  for (std::size_t i = 0; i < std::min(most, messages.size()); ++i) out += fmt::format("\n  {}. {}", i + 1, shown_message(messages[i]));
  if (messages.size() > most) out += fmt::format("\n  ... and {} more", messages.size() - most);
  return out;
}

}  // namespace ringtron
