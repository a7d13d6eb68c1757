// The parent's side of a multi-rank test: starts the rank processes, gives them tests to run, collects what
// they say.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <span>
#include <string>
#include <vector>

namespace ringtron::testing {

// Environment of a rank process: "rank,command fd,report fd,store port".
inline constexpr const char* kRankVariable = "RINGTRON_TEST_RANK";

// What a rank writes to its report pipe: one letter, then for passed, failed and skipped the length (8 hex
// digits) and text.
inline constexpr char kPassed = 'P';
inline constexpr char kFailed = 'F';
inline constexpr char kSkipped = 'S';
inline constexpr char kDeathAnnounced = 'D';

struct DistResult {
  bool passed = false;
  bool skipped = false;
  std::string message;  // of all ranks, each line with its rank
};

class RankPool {
 public:
  explicit RankPool(int store_port) : store_port_(store_port) {}
  ~RankPool();  // kills and reaps all
  RankPool(const RankPool&) = delete;
  RankPool& operator=(const RankPool&) = delete;

  // Runs test number `test` on `size` ranks, starting those that are not there yet. `prefix` is its own part
  // of the store.
  DistResult run(int test, int size, const std::string& prefix, std::chrono::seconds deadline);

  // False when a rank is gone or in an unknown state; make a new pool.
  bool usable() const { return usable_; }

 private:
  struct Rank {
    pid_t pid = -1;
    int command = -1;
    int report = -1;
    int output = -1;
    std::string report_text;
    std::string output_text;
    bool done = false;
    bool death_announced = false;
    char verdict = 0;
    std::string message;
  };

  void start(int rank);
  std::span<const Rank> active() const { return std::span(ranks_).first(active_); }
  std::span<Rank> active() { return std::span(ranks_).first(active_); }
  void poll_once(std::chrono::milliseconds limit);
  void read_report(Rank& rank);
  void drain_output(Rank& rank);
  void kill_all();
  bool all_done() const;
  bool any_failed() const;
  DistResult collect(bool timed_out, std::chrono::seconds deadline);

  int store_port_;
  std::vector<Rank> ranks_;  // the first active_ run the current test
  int active_ = 0;
  bool usable_ = true;
};

}  // namespace ringtron::testing
