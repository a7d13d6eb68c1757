// Who a process says it is when it comes to a run, and what two processes of one run must have in common.
#pragma once

#include <string>

namespace ringtron {

struct Claim {
  int rank = 0;
  int world_size = 1;
  int pid = 0;
  std::string host;   // this machine's name
  std::string build;  // of the program and of the LibTorch it runs with: equal for equal files

  std::string place() const;  // "host node3, pid 4711"
  std::string who() const;    // "rank 2 (host node3, pid 4711)"
};

// This process. Reads the program's file the first time.
Claim own_claim(int rank, int world_size);

// What is wrong when both say that they are one rank.
std::string same_rank_twice(const Claim& first, const Claim& second);

// Why `claim` cannot join the run of `first` (its rank 0), in one sentence with both; empty if it can.
std::string conflict(const Claim& first, const Claim& claim);

}  // namespace ringtron
