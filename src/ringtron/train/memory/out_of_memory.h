// Memory that ran out, told in words: LibTorch's own message is some 25 stack frames.
#pragma once

#include <exception>
#include <new>
#include <string>

#include "ringtron/train/job.h"

namespace ringtron {

// what() says what was asked for and what to do; run_main() prints it as it is.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  std::string message_;
};

// Whether `error` says that memory ran out: std::bad_alloc, a GPU's allocator, or LibTorch's on the CPU.
bool is_out_of_memory(const std::exception& error);

// What an error says, without LibTorch's stack frames.
std::string plain_message(const std::exception& error);

// "47.7 GiB were asked for": what a message of an allocator says about the size, in one line.
std::string allocation_asked_for(const std::exception& error);

// LibTorch's errors carry no stack frames from now on, wherever they are caught; with TORCH_SHOW_CPP_STACKTRACES=1 they
// do. Call it once, early.
void disable_stack_traces();

// The same error for people: OutOfMemory for memory, a runtime_error with plain_message() for another error of
// LibTorch; every other exception goes on as it is. Called in a catch block.
[[noreturn]] void rethrow_readable(const std::string& breakdown);

}  // namespace ringtron
