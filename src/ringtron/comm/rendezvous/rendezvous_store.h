// Internal to comm: what is inside a Rendezvous; the store is for the back ends that need one.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <exception>
#include <memory>
#include <string>

#include "ringtron/comm/rendezvous/rendezvous.h"
#include "ringtron/comm/rendezvous/rendezvous_client.h"
#include "ringtron/comm/rendezvous/rendezvous_server.h"

namespace ringtron {

struct Rendezvous::Impl {
  ~Impl();  // says goodbye: failed if an exception unwinds it

  int exceptions_at_start = std::uncaught_exceptions();
  std::unique_ptr<RendezvousServer> server;  // rank 0 only
  std::shared_ptr<RendezvousClient> link;    // null in a run of one process, as is the store
  c10::intrusive_ptr<c10d::Store> store;
  std::string local_address = "127.0.0.1";
};

// A view of the run's store in which all keys begin with `prefix`.
c10::intrusive_ptr<c10d::Store> store_with_prefix(const Rendezvous& rendezvous, const std::string& prefix);

}  // namespace ringtron
