#include "ringtron/launch/stderr_tail.h"

#include <algorithm>
#include <cctype>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

bool all_digits(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
}

// "[W1129 22:41:07.123456789 socket.cpp:767] ...", with or without "[rank0]:" before it: the c10 libraries' form.
bool is_library_line(std::string_view line) {
  if (line.starts_with("[rank")) {
    const std::size_t end = line.find("]:");
    if (end != std::string_view::npos) line.remove_prefix(end + 2);
  }
  if (line.size() < 7 || line[0] != '[' || line[6] != ' ') return false;
  return std::string_view("IWEF").find(line[1]) != std::string_view::npos && all_digits(line.substr(2, 4));
}

bool is_chatter(std::string_view line) {
  const std::string_view text = trim(line);
  return text.empty() || text.starts_with("WARNING: ") || text.starts_with("frame #") ||
         text.starts_with("Exception raised from ") || is_library_line(text);
}

}  // namespace

bool is_statement(std::string_view line) {
  const std::size_t colon = line.find(": ");
  if (colon == std::string_view::npos || colon == 0) return false;
  return std::ranges::all_of(line.substr(0, colon), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '.' || c == '-' || c == '/';
  });
}

void StderrTail::add_line(std::string_view line) {
  if (is_chatter(line)) return;
  line = line.substr(0, kLongestLine);
  if ((line.front() == ' ' || line.front() == '\t') && !lines_.empty()) {
    if (lines_.size() < kMostLines) lines_.emplace_back(line);
    return;
  }
  if (is_comm_error_ && !is_statement(line)) return;
  is_comm_error_ = line.find(kCommErrorMark) != std::string_view::npos;
  lines_.assign(1, std::string(line));
}

std::string StderrTail::text() const {
  std::string text;
  for (const std::string& line : lines_) text += (text.empty() ? "" : "\n") + line;
  return text;
}

}  // namespace ringtron
