// Where the processes of one run find each other: the server on rank 0, the store of keys in it, and the news of who
// died.
//
// Made once per process, before any group. Rank 0 opens the server (rendezvous_server.h) at host:port; where the
// launcher has a store there (torchrun: TORCHELASTIC_USE_AGENT_STORE=True), at a port of its own that it publishes in
// that store. Every rank proves the run's token, claims its number and waits until all have come; from then on it hears
// of every death. The constructor throws ConfigError, at once, where the ranks do not fit together (a number twice,
// another world size, another binary, another run at the port), and CommError when a rank is lost on the way or, after
// `timeout` in all, with those that have not come. Must outlive every Communicator made from it. A run of one process
// opens no socket.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "ringtron/comm/failure_detection/liveness.h"

namespace ringtron {

struct RendezvousOptions {
  std::string host = "127.0.0.1";
  int port = 29500;
  int rank = 0;
  int world_size = 1;
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  bool launcher_hosts_store = false;
  bool peer_copies = true;  // GPUs of one machine exchange by copy engines where they can; otherwise NCCL does it all
  bool one_machine = true;  // all ranks run on this machine: then a loopback address is all that rank 0 listens at
  std::string
      token;  // of the run; ranks with another one are refused. Not used in a launcher's store, where rank 0 makes one
  std::string prefix;  // keeps one attempt's keys apart from another's in a launcher's store, which outlives both
};

// Fills launcher_hosts_store and prefix from torchrun's variables (TORCHELASTIC_USE_AGENT_STORE,
// TORCHELASTIC_RESTART_COUNT); leaves the rest.
RendezvousOptions with_launcher_store(RendezvousOptions options);

class Rendezvous {
 public:
  explicit Rendezvous(RendezvousOptions options);
  ~Rendezvous();
  Rendezvous(const Rendezvous&) = delete;
  Rendezvous& operator=(const Rendezvous&) = delete;

  int rank() const { return options_.rank; }
  int world_size() const { return options_.world_size; }
  const RendezvousOptions& options() const { return options_; }

  // The address of this machine that its peers can reach: loopback when rank 0's host is a loopback name.
  const std::string& local_address() const;

  // Null in a run of one process.
  Liveness* liveness() const;

  struct Impl;  // holds the c10d store; see rendezvous_store.h
  const Impl& impl() const { return *impl_; }

 private:
  RendezvousOptions options_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ringtron
