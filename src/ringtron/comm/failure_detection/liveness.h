// Failure detection, who has died: what this process has been told about the others of its run, within milliseconds of
// a death.
//
// The news come over the connection of each rank to the server on rank 0 (rendezvous_client.h). The kernel closes a
// dead process's connection, the server sees that and tells the others; when rank 0 itself dies, everyone sees it. A
// rank that leaves while an exception unwinds its Rendezvous counts as failed; one that leaves otherwise has finished
// and is no loss. It does not see a machine that loses power or a stopped process: those end by the timeout of each
// operation. Thread-safe. Callbacks run on the connection's own thread.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace ringtron {

class Liveness {
 public:
  struct Loss {
    int rank;
    bool failed;             // it reported an error of its own before it left; otherwise its process is gone
    std::string place = {};  // "host node3, pid 4711"
  };

  // The ranks lost so far, first loss first (the cause; the others often follow from it). Waits up to `grace`
  // for one if there is none yet, because a broken connection may be noticed earlier than the death behind
  // it.
  std::vector<Loss> losses(std::chrono::milliseconds grace) const;

  // Calls back at the first loss; at once if there was one. Returns a number for forget().
  int on_loss(std::function<void()> callback);
  // Afterwards the callback is not running and will not run.
  void forget(int callback);

  // States that the rest of this process's life counts as a failure, whatever unwinds.
  void mark_failed() { failed_ = true; }
  bool marked_failed() const { return failed_; }

  // "rank 2 (host node3, pid 4711)"; without the place before all ranks have come.
  std::string who(int rank) const;

  // For the connection: a loss (one that is known already changes nothing), and where each rank runs.
  void report(Loss loss);
  void set_places(std::vector<std::string> places);

 private:
  std::atomic<bool> failed_ = false;
  mutable std::mutex mutex_;
  mutable std::condition_variable lost_;
  std::vector<Loss> losses_;
  std::vector<std::string> places_;  // by rank
  std::map<int, std::function<void()>> callbacks_;
  int next_callback_ = 0;
  bool called_back_ = false;
};

// "rank 2 died (host node3, pid 4711); rank 1 stopped with an error (...)", or empty.
std::string describe(const std::vector<Liveness::Loss>& losses);

}  // namespace ringtron
