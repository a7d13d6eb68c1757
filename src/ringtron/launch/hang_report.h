// Which rank hangs, when all that ended say only that they waited.
//
// Ranks that wait run into their timeouts one after the other and end. The one that hangs does not: it is alive and has
// said nothing. Who waited for a rank that itself waited says so too, a little later, and is no longer among those
// alive.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ringtron/launch/failure_report.h"

namespace ringtron {

// A rank that is still there after the others have given up.
struct SilentRank {
  int rank = 0;
  int pid = 0;
  bool stopped = false;  // SIGSTOP or a debugger
  char state = '?';      // of its main thread, as in /proc/PID/stat
};

// The same of a running process. '?' if it is gone.
char process_state(int pid);

// True if a process of the group is stopped, such as the program behind a rank's shell script.
bool group_is_stopped(int group);

// What a rank that waited tells about it, from its last words.
struct ReportedWait {
  std::string operation = {};        // "all_reduce number 5 of the tensor-parallel group (ranks 0,2)"; may be empty
  std::vector<int> waited_for = {};  // ranks, itself not among them; may be empty
};
ReportedWait read_wait(const RankFailure& failure);

struct HangContext {
  bool other_nodes = false;  // there are ranks of which nothing is known here
  std::string log = {};      // the last line of the run's log, may be empty
};

// One sentence that names who hangs, how it is, and where it stood as far as those that waited know. Nothing if none of
// `silent` can be meant: with other nodes, one that is not stopped and that nobody waited for may have waited itself.
// `waited`: the failures of ranks that waited.
std::optional<std::string> describe_hang(std::span<const RankFailure> waited, std::span<const SilentRank> silent,
                                         const HangContext& context);

}  // namespace ringtron
