// What a rank said last on its stderr: the message that tells why it ended, whole, and not the chatter of libraries
// behind it.
#pragma once

#include <deque>
#include <string>
#include <string_view>

namespace ringtron {

// How run_main() announces a CommError.
inline constexpr std::string_view kCommErrorMark = ": communication failed: ";

class StderrTail {
 public:
  static constexpr std::size_t kMostLines = 40;
  static constexpr std::size_t kLongestLine = 2000;

  // The next line, without its newline. Indented lines belong to the one before them. Warnings (ours and those of the
  // c10 libraries) and frames of a stack explain no end; after a CommError only another program's error counts.
  void add_line(std::string_view line);

  // Lines with '\n' between them; empty if nothing was said.
  std::string text() const;

 private:
  std::deque<std::string> lines_;
  bool is_comm_error_ = false;
};

// True for "name: text", the form in which programs say why they end ("pretrain_gpt: ...", "ValueError: ...").
bool is_statement(std::string_view line);

}  // namespace ringtron
