// Which rank failed first and why: the sentence that the user of a failed run reads.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace ringtron {

struct RankFailure {
  int rank = 0;
  int pid = 0;
  int exit_code = 0;       // if it ended by itself
  int signal = 0;          // if not 0, the signal that killed it
  std::string words = {};  // what it said last on stderr (StderrTail); may be empty
};

// True if the rank says that it failed because another one did (CommError); then that other one is to blame.
bool is_consequence(const RankFailure& failure);

// True if nothing says why it failed, neither a signal nor a statement ("program: ..."): often all ranks end for the
// same reason, and one of them tells it.
bool is_unclear(const RankFailure& failure);

// True if it waited for another rank until its timeout, and nothing says that one has died: somebody hangs.
bool waited_in_vain(const RankFailure& failure);

// Index of the one to blame among failures in the order in which they were seen. Ranks that die within the
// same moment are seen in no certain order, so a rank killed by a signal comes before one that ended by
// itself and said why, then come those that said something else, then silent ones, and consequences last. `failures` is
// not empty.
std::size_t first_cause(std::span<const RankFailure> failures);

// "rank 2 (pid 77) was killed by SIGKILL (out of memory, or kill -9)".
std::string describe(const RankFailure& failure);

// The lines that say why, for the user: "its last line on stderr: disk full", or a heading and all lines of a longer
// message. Empty if it said nothing.
std::vector<std::string> words_of(const RankFailure& failure);

// How a run ended that was told to: "stopped by SIGTERM; ranks 0, 1 ended of it". `ended_of_it`: those without a
// handler, or with the signal's exit code; the others ended with 0, or were `killed` because they did not.
std::string describe_stop(int signal, std::span<const int> ended_of_it, bool killed);

// What a shell would give: the exit code, or 128 plus the signal's number.
int shell_exit_code(const RankFailure& failure);

// "SIGTERM"; "signal 99" for one without a name.
std::string signal_text(int signal);

}  // namespace ringtron
