// Who has died: tells every rank within milliseconds when another process ends without saying goodbye.
//
// A star of TCP connections with rank 0 in the middle. The kernel closes a dead process's connection, rank 0
// sees that and tells the others; when rank 0 itself dies, everyone sees it. A rank that leaves while an
// exception unwinds its Liveness counts as failed; one that leaves otherwise has finished and is no loss. It
// does not see a machine that loses power or a stopped process: those end by the timeout of each operation.
// Thread-safe. Callbacks run on the service's own thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ringtron {

class Liveness {
 public:
  struct Loss {
    int rank;
    bool failed;  // it reported an error of its own before it left; otherwise its process is gone
  };

  // Rank 0: starts to listen; port() is what the others connect to.
  static std::unique_ptr<Liveness> serve(int world_size);
  // All others. Throws CommError if rank 0 does not answer at host:port.
  static std::unique_ptr<Liveness> join(int rank, const std::string& host, int port);

  ~Liveness();
  Liveness(const Liveness&) = delete;
  Liveness& operator=(const Liveness&) = delete;

  int port() const;

  // The ranks lost so far, first loss first (the cause; the others often follow from it). Waits up to `grace`
  // for one if there is none yet, because a broken connection may be noticed earlier than the death behind
  // it.
  std::vector<Loss> losses(std::chrono::milliseconds grace) const;

  // Calls back at the first loss; at once if there was one. Returns a number for forget().
  int on_loss(std::function<void()> callback);
  void forget(int callback);

  // States that the rest of this process's life counts as a failure, whatever unwinds.
  void mark_failed();

 private:
  struct State;
  explicit Liveness(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// "rank 2 died; rank 1 stopped with an error", or empty.
std::string describe(const std::vector<Liveness::Loss>& losses);

}  // namespace ringtron
