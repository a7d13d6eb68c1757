#include "ringtron/base/shown_message.h"

#include <fmt/format.h>

#include <algorithm>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

// A line of a message begins with a blank, as those of a list do, or is a rule of dashes. Before anything else a
// newline came with foreign text, and would let it pass for a line of the program.
bool begins_a_line(std::string_view rest) {
  return !rest.empty() && (rest[0] == ' ' || rest.find_first_not_of('-') == std::string_view::npos);
}

}  // namespace

std::string shown_message(std::string_view message, std::size_t word_limit) {
  std::string out;
  out.reserve(message.size());
  while (!message.empty()) {
    const std::size_t word = std::min(message.find_first_of(" \n\t"), message.size());
    out += excerpt(message.substr(0, word), word_limit);
    if (word == message.size()) break;
    const bool foreign = message[word] == '\n' && !begins_a_line(message.substr(word + 1));
    out += foreign ? excerpt("\n") : message.substr(word, 1);
    message.remove_prefix(word + 1);
  }
  return out;
}

std::string numbered(std::span<const std::string> messages, std::size_t most) {
  std::string out;
  for (std::size_t i = 0; i < std::min(most, messages.size()); ++i)
    out += fmt::format("\n  {}. {}", i + 1, shown_message(messages[i]));
  if (messages.size() > most) out += fmt::format("\n  ... and {} more", messages.size() - most);
  return out;
}

}  // namespace ringtron
