// Lines to stdout and stderr that never block who gives them: a thread for each file writes them.
//
// Whoever reads our output may stop to (less, Ctrl-S, a stalled tee), and a write blocks then. A supervisor that blocks
// hears no signal and sees no death. Setting O_NONBLOCK would not do: the flag belongs to the file, which the shell and
// others share.
//
// What cannot be written is kept up to a bound. Beyond it the oldest whole lines go, because the newest say how the run
// ended; a line in their place says how many are missing.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace ringtron {

class OutputQueue {
 public:
  static constexpr std::size_t kKept = 4 << 20;        // bytes kept for a reader that has stopped
  static constexpr std::size_t kMost = 16 << 20;       // and for one that reads slowly
  static constexpr std::chrono::seconds kPatience{2};  // without progress for so long, it has stopped

  // Starts the thread, with all signals blocked. `fd` stays the caller's; `name` is for messages ("stdout").
  OutputQueue(int fd, std::string name);
  // Waits for nothing; the thread ends when its write returns, at the latest with the process.
  ~OutputQueue();
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;

  // One or more whole lines, with their newlines. Any thread; does not block.
  void put(std::string lines);

  // True if much is kept but its reader still reads: who has more should wait a moment, so that nothing is dropped.
  bool is_busy() const;

  // Since when nothing has been written although there was something to write: 0 if all is written.
  std::chrono::milliseconds stalled_for() const;
  // Waits until all is written, or for `time`.
  bool wait_until_written(std::chrono::milliseconds time) const;
  // If it is a pipe, makes it larger, so that what is kept (the newest of it) fits in whoever reads it later.
  void enlarge_pipe();
  // Lines that did not get out, so far.
  std::int64_t missing() const;
  const std::string& name() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// This process's stdout and stderr; one queue if both are the same file, so that the order of lines stays.
// While it lives, a closed pipe and a file at its size limit are errors of a write, not signals.
class Outputs {
 public:
  Outputs();
  ~Outputs();
  Outputs(const Outputs&) = delete;
  Outputs& operator=(const Outputs&) = delete;

  OutputQueue& out() { return out_ ? *out_ : *err_; }
  OutputQueue& err() { return *err_; }

  // Waits for what is not written: as long as it is being read, at most kLongestFlush, and 3 s where it is not. Ends
  // early when `hurry` says so (asked every 50 ms). What did not get out is told on the other stream.
  static constexpr std::chrono::seconds kLongestFlush{60};
  void flush(const std::function<bool()>& hurry);

 private:
  std::unique_ptr<OutputQueue> err_;
  std::unique_ptr<OutputQueue> out_;  // null if stdout and stderr are one file
  void (*pipe_before_)(int);
  void (*size_before_)(int);
};

}  // namespace ringtron
