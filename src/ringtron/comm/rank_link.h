// A rank's connection to the hub on rank 0 (hub.h), from its first moment to its last. All ranks have one, rank 0 too.
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
#include "ringtron/comm/claim.h"
#include "ringtron/comm/key_table.h"
#include "ringtron/comm/liveness.h"
#include "ringtron/comm/socket.h"
#include "ringtron/comm/wire.h"

namespace ringtron {

struct HubAddress {
  std::string host;
  int port = 0;
  std::string token;
};

// Says at the hub that this rank ends before it has joined, and why. Returns what another rank has said that ends for the same
// reason; empty if none has, or if what is there is no hub of this run. Nothing if no hub can be reached within `limit`.
std::optional<std::string> tell_end(const HubAddress& hub, const Claim& own, const std::string& why, std::chrono::milliseconds limit);

class RankLink {
 public:
  // Knocks until the hub lets this rank in. ConfigError, at once, if the hub refuses it or is none of ours; CommError if there is
  // none within `timeout`, which began to count at `start`.
  RankLink(const HubAddress& hub, Claim own, std::chrono::milliseconds timeout, SteadyClock::time_point start = SteadyClock::now());
  ~RankLink();
  RankLink(const RankLink&) = delete;
  RankLink& operator=(const RankLink&) = delete;

  // Returns when all ranks have come. Throws CommError as soon as one is lost, or when the time given to the constructor is over,
  // with those that have not come; ConfigError if the run cannot start.
  void wait_for_all();

  // Throws CommError if there is no answer within `timeout`, after leave(), when rank 0 has left and, where a key is waited for
  // (get), as soon as a rank is lost.
  StoreReply ask(StoreRequest request, std::chrono::milliseconds timeout);

  // Says goodbye and ends the thread; later calls do nothing.
  void leave(bool failed);

  Liveness& liveness() { return liveness_; }
  const Claim& own() const { return own_; }

 private:
  bool knock(const HubAddress& hub);
  std::string read_frame(wire::Kind& kind);
  void read_from_hub();
  bool read_some();
  void handle(const wire::Frame& frame);
  void send(wire::Kind kind, std::string_view body = {});
  [[noreturn]] void throw_not_met(std::unique_lock<std::mutex>& lock) const;

  const Claim own_;
  const std::chrono::milliseconds timeout_;
  const SteadyClock::time_point deadline_;
  Liveness liveness_;
  Descriptor socket_;
  Descriptor wake_read_, wake_write_;
  std::string why_not_;  // of the last knock
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
