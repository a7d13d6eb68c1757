// Walks over JSON without keeping any of it. Private to json_line.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ringtron {

// What is wrong, and at which byte of the line.
struct JsonFault {
  std::size_t at;
  std::string what;
};

// Throws JsonFault at the first byte that Python's json.loads would not take, or that is no UTF-8.
class JsonScanner {
 public:
  // `open` is room for the brackets, so that depth costs memory and not stack.
  JsonScanner(std::string_view text, std::vector<char>& open) : text_(text), open_(open) {}

  std::size_t at() const { return at_; }
  bool at_end() const { return at_ == text_.size(); }
  // The next byte, 0 at the end.
  char next() const { return at_end() ? '\0' : text_[at_]; }
  [[noreturn]] void fail(std::string what) const { throw JsonFault{at_, std::move(what)}; }

  void skip_space();
  // Past `c` if it is next.
  bool skip(char c);
  void expect(char c);
  // Past a string; what stands between its quotes.
  std::string_view skip_string();
  // Past one value of any kind, at most as deep as the text is long; as it is written.
  std::string_view skip_value();

 private:
  void skip_escape();
  void skip_number();
  bool skip_digits();
  void skip_scalar();
  void skip_key();
  // Past a value without values in it, or past what stands before the first value inside; then true.
  bool enter();
  // Past brackets that close and one comma; false if the outermost bracket is closed.
  bool skip_to_next_value();

  std::string_view text_;
  std::vector<char>& open_;
  std::size_t at_ = 0;
};

// Appends what `written`, a string without its quotes that the scanner took, means. Halves of surrogate pairs become
// U+FFFD and are counted in the result.
std::int64_t append_unescaped(std::string_view written, std::string& out);

}  // namespace ringtron
