// A rank's connection to the server on rank 0 (rendezvous_server.h), from its first moment to its last. All ranks have
// one, rank 0 too.
//
// Thread-safe. One thread of its own reads: losses go to liveness(), answers to whoever asked.
#pragma once

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "ringtron/base/clock.h"
#include "ringtron/comm/failure_detection/liveness.h"
#include "ringtron/comm/rendezvous/claim.h"
#include "ringtron/comm/rendezvous/key_table.h"
#include "ringtron/comm/rendezvous/socket.h"
#include "ringtron/comm/rendezvous/wire.h"

namespace ringtron {

struct RendezvousAddress {
  std::string host;
  int port = 0;
  std::string token;
};

// Says at the server that this rank ends before it has joined, and why. Returns what another rank has said that ends
// for the same reason; empty if none has, or if what is there is no server of this run. Nothing if no server can be
// reached within `limit`.
std::optional<std::string> send_start_failure(const RendezvousAddress& server, const Claim& own, const std::string& why,
                                              std::chrono::milliseconds limit);

class RendezvousClient {
 public:
  // Connects until the server lets this rank in. ConfigError, at once, if the server refuses it or is none of ours;
  // CommError if there is none within `timeout`, which began to count at `start`.
  RendezvousClient(const RendezvousAddress& server, Claim own, std::chrono::milliseconds timeout,
                   SteadyClock::time_point start = SteadyClock::now());
  ~RendezvousClient();
  RendezvousClient(const RendezvousClient&) = delete;
  RendezvousClient& operator=(const RendezvousClient&) = delete;

  // Returns when all ranks have come. Throws CommError as soon as one is lost, or when the time given to the
  // constructor is over, with those that have not come; ConfigError if the run cannot start.
  void wait_for_all();

  // Throws CommError if there is no answer within `timeout`, after leave(), when rank 0 has left and, where a key is
  // waited for (get), as soon as a rank is lost.
  StoreReply ask(StoreRequest request, std::chrono::milliseconds timeout);

  // Says goodbye and ends the thread; later calls do nothing.
  void leave(bool failed);

  Liveness& liveness() { return liveness_; }
  const Claim& own() const { return own_; }

 private:
  bool connect_once(const RendezvousAddress& server);
  std::string read_frame(wire::Kind& kind);
  void read_from_hub();
  bool read_some();
  void handle(const wire::Frame& frame);
  void send(wire::Kind kind, std::string_view body = {});
  [[noreturn]] void throw_missing_ranks(std::unique_lock<std::mutex>& lock) const;

  const Claim own_;
  const std::chrono::milliseconds timeout_;
  const SteadyClock::time_point deadline_;
  Liveness liveness_;
  Descriptor socket_;
  Descriptor wake_read_, wake_write_;
  std::string why_not_;  // of the last try
  wire::FrameReader reader_{wire::kLargestFrame};

  std::mutex sending_;
  mutable std::mutex mutex_;
  std::condition_variable news_;
  std::map<std::uint32_t, StoreReply> replies_;
  std::map<std::uint32_t, bool> asked_;  // ids without an answer yet
  std::uint32_t next_id_ = 0;
  bool all_have_come_ = false;
  bool lost_ = false;
  bool rank_0_leaves_ = false;
  std::string ended_;   // why the run does not start
  std::string broken_;  // why nothing can be asked any more
  std::thread thread_;
};

}  // namespace ringtron
