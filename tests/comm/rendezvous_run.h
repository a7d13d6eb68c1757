// A start of a run within one process, and connections of strangers to it: for the tests of the rendezvous server.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "ringtron/comm/rendezvous/rendezvous_client.h"
#include "ringtron/comm/rendezvous/rendezvous_server.h"

namespace ringtron {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Far above what anything here takes, far below a test's limit.
inline constexpr seconds kLong(60);

inline Claim claim(int rank, int world_size, std::string host = "node", std::string build = "b1") {
  return {
      .rank = rank, .world_size = world_size, .pid = 1000 + rank, .host = std::move(host), .build = std::move(build)};
}

inline std::unique_ptr<RendezvousServer> open(int world_size, milliseconds hello_time = kLong, int strangers = 64) {
  return std::make_unique<RendezvousServer>(
      listen_at("127.0.0.1", 0, true),
      RendezvousServerOptions{
          .own = claim(0, world_size, "node0"), .token = "secret", .hello_time = hello_time, .strangers = strangers});
}

inline std::unique_ptr<RendezvousClient> join(const RendezvousServer& server, Claim own,
                                              const std::string& token = "secret", milliseconds timeout = kLong) {
  return std::make_unique<RendezvousClient>(RendezvousAddress{"127.0.0.1", server.port(), token}, std::move(own),
                                            timeout);
}

inline Descriptor connect_once(const RendezvousServer& server) {
  std::string why;
  return connect_to("127.0.0.1", server.port(), kLong, why);
}

inline bool send_all(const Descriptor& socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EAGAIN) {
      std::this_thread::sleep_for(milliseconds(1));
    } else if (count < 0) {
      return false;
    } else {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  return true;
}

// Reads until the other side ends the connection.
inline bool is_dropped(const Descriptor& socket) {
  const auto end = SteadyClock::now() + kLong;
  char buffer[4096];
  while (SteadyClock::now() < end) {
    const ssize_t count = ::recv(socket.get(), buffer, sizeof(buffer), 0);
    if (count == 0 || (count < 0 && errno != EAGAIN)) return true;
    if (count < 0) std::this_thread::sleep_for(milliseconds(1));
  }
  return false;
}

// A run of two ranks that have met.
struct Pair {
  explicit Pair(milliseconds hello_time = kLong, int strangers = 64) : server(open(2, hello_time, strangers)) {
    rank_0 = join(*server, claim(0, 2, "node0"));
    rank_1 = join(*server, claim(1, 2, "node1"));
    rank_0->wait_for_all();
    rank_1->wait_for_all();
  }
  // Both ends still serve, and a death is told.
  void expect_well() {
    rank_1->ask({.op = StoreRequest::Op::set, .keys = {"a"}, .values = {"b"}}, kLong);
    EXPECT_EQ(rank_0->ask({.op = StoreRequest::Op::get, .keys = {"a"}}, kLong).value, "b");
    EXPECT_TRUE(rank_0->liveness().losses(milliseconds(0)).empty());
    EXPECT_TRUE(rank_1->liveness().losses(milliseconds(0)).empty());
    rank_1->leave(true);
    const auto losses = rank_0->liveness().losses(kLong);
    EXPECT_EQ(describe(losses), "rank 1 stopped with an error (host node1, pid 1001)");
  }
  std::unique_ptr<RendezvousServer> server;
  std::unique_ptr<RendezvousClient> rank_0, rank_1;
};

}  // namespace ringtron
