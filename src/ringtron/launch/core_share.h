// How many threads a rank computes with when nobody has said: its share of the cores that it may use.
//
// Without it each of eight ranks of a machine starts as many threads as there are cores, and a step takes 20 times as
// long. Who binds ranks to cores (srun, numactl, taskset) has shared them out already; so what counts is how many ranks
// may use the same core, which the ranks find out by telling each other, not a number of ranks from the environment.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "ringtron/launch/launch_environment.h"

namespace ringtron {

// What one process may compute with.
struct CoreClaim {
  std::string machine;     // the same text on two processes only if they run on one machine
  std::vector<int> cores;  // that it may be scheduled on
  double quota = 0.0;      // cores' worth of time that its control group may take; 0: no limit
  std::string group;       // that the quota is for; ranks of one group share it
};

CoreClaim own_core_claim();

// In one line, and back. Throws InternalError for what is none.
std::string claim_text(const CoreClaim& claim);
CoreClaim parse_claim(const std::string& text);

// Threads for rank `self` of all the ranks of a run: of each core its share, at most its share of the quota, at
// least 1.
int fair_threads(std::span<const CoreClaim> ranks, std::size_t self);

// Whole cores that this process may use, its control group's quota counted, at least 1.
int usable_cores(const CoreClaim& claim);

// True if the user has set how many threads there are to be.
bool threads_are_set(const EnvironmentLookup& env);

// What is odd about the number of threads that the user has set: no number, or more than `cores`; empty where nothing
// is.
std::string odd_thread_setting(const EnvironmentLookup& env, int cores);

// The tightest limit on CPU time of a control group or one that it lies in (version 2: cpu.max, version 1:
// cpu.cfs_quota_us).
struct CpuQuota {
  double cores = 0.0;  // 0: no limit
  std::string group;   // that has the limit
};
// `root` is "/" but in tests.
CpuQuota cpu_quota(const std::filesystem::path& root);

}  // namespace ringtron
