// The five ways in which something goes wrong, and the exit code of each.
//
// Libraries throw these; only a program's main() turns them into an exit code (run_main). Every message says what was
// expected, what came and what to do; where a rank is involved, which one.
#pragma once

#include <functional>
#include <stdexcept>
#include <string>

namespace ringtron {

// The user can fix it: a flag, a file name, a size that does not divide.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Another rank died, hung or disagreed. The run may recover from the last checkpoint.
class CommError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A file or a disk failed.
class IoError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The numbers failed: a loss or gradient that is not finite.
class NumericError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A failed RT_CHECK: our mistake, not the user's.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// Exit codes, the same on all ranks. Usage errors follow argparse (2), the others Megatron's (1).
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;

// Prepares the process (process.h), runs `body` and returns its exit code; prints an error as "program: message" on
// stderr and returns the code that belongs to its kind (ConfigError 2, all others 1).
int run_main(const char* program, const std::function<int()>& body) noexcept;

}  // namespace ringtron
