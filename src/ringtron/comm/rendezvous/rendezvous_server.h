// Where the ranks of a run meet: one port on rank 0, one connection for each rank, one thread.
//
// Over that connection a rank proves the run's token and claims its number, uses the run's store of keys, and is told
// who is lost. A peer costs nothing before it has proved the token: what says nothing valid within `hello_time` is
// dropped, so is the oldest such connection when there are more than `strangers`, and once all ranks have come new ones
// are taken slowly. A claim that contradicts the run (a number twice, another world size, another binary) ends the
// start for everybody; when all ranks have come already, or the claim is for rank 0, which has opened the server, it is
// refused alone, with a line. A rank that cannot start says why instead, and that ends the start as well. A connection
// that ends without a goodbye is a death.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "ringtron/comm/rendezvous/claim.h"
#include "ringtron/comm/rendezvous/socket.h"

namespace ringtron {

struct RendezvousServerOptions {
  Claim own;          // rank 0
  std::string token;  // of the run; whoever knows it may join
  std::chrono::milliseconds hello_time = std::chrono::seconds(5);
  int strangers = 64;       // connections without a proof, at a time; at least the world's size
  std::string cannot = {};  // why rank 0 cannot start: nobody joins, everybody who comes hears it
};

class RendezvousServer {
 public:
  RendezvousServer(Listeners listeners, RendezvousServerOptions options);
  ~RendezvousServer();  // as stop(true), if that was not done
  RendezvousServer(const RendezvousServer&) = delete;
  RendezvousServer& operator=(const RendezvousServer&) = delete;

  int port() const;

  // Where a rank, or rank 0 itself, cannot start: returns when all ranks have heard it, or after `limit`, and then
  // false; who comes after rank 0 has left would wait for it in vain. Otherwise at once.
  bool wait_until_heard(std::chrono::milliseconds limit);

  // Tells all ranks that rank 0 leaves, or that it has failed, and closes everything.
  void stop(bool failed);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace ringtron
