// Where the processes of one run find each other: a key-value store over TCP, and the liveness service beside
// it.
//
// Made once per process, before any group. Rank 0 hosts the store at host:port unless the launcher already
// does (torchrun: TORCHELASTIC_USE_AGENT_STORE=True), in which case rank 0 is a client as well. The
// constructor returns when all ranks have come; it throws CommError after `timeout` and lists those that have
// not. Must outlive every Communicator made from it. A run of one process opens no socket.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "ringtron/comm/liveness.h"

namespace ringtron {

struct RendezvousOptions {
  std::string host = "127.0.0.1";
  int port = 29500;
  int rank = 0;
  int world_size = 1;
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  bool launcher_hosts_store = false;
  bool peer_copies = true;  // GPUs of one machine exchange by copy engines where they can; otherwise NCCL does it all
  std::string prefix;       // keeps one attempt's keys apart from another's in a store that outlives both
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
