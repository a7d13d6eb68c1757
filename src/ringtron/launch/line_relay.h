// Carries one rank's output to ours, line by line, each behind the rank's prefix, so that lines of several ranks do not
// mix.
#pragma once

#include <string>
#include <string_view>

#include "ringtron/launch/output_queue.h"
#include "ringtron/launch/stderr_tail.h"

namespace ringtron {

class LineRelay {
 public:
  // Takes `from`, the non-blocking reading end of a pipe, and closes it. `to` stays the caller's and outlives this.
  LineRelay(int from, OutputQueue& to, std::string prefix);
  ~LineRelay();
  LineRelay(LineRelay&& other) noexcept;
  LineRelay& operator=(LineRelay&&) = delete;

  // Forwards what has arrived, up to 64 KiB: a rank that writes without end must not keep us from all else. A line
  // without its end waits for the rest, unless it is longer than 64 KiB.
  void pump();

  // Forwards all that has arrived and the rest as a line even without its end, and closes. For when the writer is gone.
  void finish();

  int fd() const { return from_; }  // to poll; -1 once the writer has closed
  // True if our own output is behind: what the rank writes may wait in its pipe for a moment.
  bool is_busy() const { return to_->is_busy(); }
  std::string stderr_tail() const { return words_.text(); }
  const std::string& last_line() const { return last_line_; }  // that was not blank, without the prefix

 private:
  void pump(int reads);
  void take(std::string_view bytes);
  void forward(std::string_view line);

  int from_;
  OutputQueue* to_;
  std::string prefix_;
  std::string partial_;
  std::string last_line_;
  StderrTail words_;
};

}  // namespace ringtron
