// Which rank failed first and why: the sentence that the user of a failed run reads.
#pragma once

#include <span>
#include <string>

namespace ringtron {

struct RankFailure {
  int rank = 0;
  int pid = 0;
  int exit_code = 0;      // if it ended by itself
  int signal = 0;         // if not 0, the signal that killed it
  std::string last_line = {};  // of its stderr; may be empty
};

// True if the rank says that it failed because another one did (CommError); then that other one is to blame.
bool is_consequence(const RankFailure& failure);

// True if nothing says why it failed: often all ranks end for the same reason, and one of them tells it.
bool is_silent(const RankFailure& failure);

// Index of the one to blame among failures in the order in which they were seen. Ranks that die within the
// same moment are seen in no certain order, so a rank killed by a signal comes before one that ended by
// itself and said why, then come silent ones, and consequences last. `failures` is not empty.
std::size_t first_cause(std::span<const RankFailure> failures);

// "rank 2 (pid 77) was killed by SIGKILL (out of memory, or kill -9)".
std::string describe(const RankFailure& failure);

// What a shell would give: the exit code, or 128 plus the signal's number.
int shell_exit_code(const RankFailure& failure);

// "SIGTERM"; "signal 99" for one without a name.
std::string signal_name(int signal);

}  // namespace ringtron
