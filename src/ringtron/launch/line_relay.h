// Carries one rank's output to ours, line by line, each behind the rank's prefix and in one write(2), so that
// lines of several ranks do not mix.
#pragma once

#include <string>
#include <string_view>

namespace ringtron {

class LineRelay {
 public:
  // Takes `from`, the non-blocking reading end of a pipe, and closes it. `to` stays the caller's.
  LineRelay(int from, int to, std::string prefix);
  ~LineRelay();
  LineRelay(LineRelay&& other) noexcept;
  LineRelay& operator=(LineRelay&&) = delete;

  // Forwards what has arrived. A line without its end waits for the rest, unless it is longer than 64 KiB.
  void pump();

  // pump(), then forwards the rest as a line even without its end, and closes. For when the writer is gone.
  void finish();

  int fd() const { return from_; }  // to poll; -1 once the writer has closed
  const std::string& last_line() const {
    return last_line_;
  }  // the last that was not blank, without the prefix

 private:
  void take(std::string_view bytes);
  void forward(std::string_view line);

  int from_;
  int to_;
  std::string prefix_;
  std::string partial_;
  std::string last_line_;
};

}  // namespace ringtron
