// Internal to comm: the c10d store inside a Rendezvous, for the back ends that need it.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <memory>
#include <string>

#include "ringtron/comm/rendezvous.h"

namespace ringtron {

struct Rendezvous::Impl {
  c10::intrusive_ptr<c10d::Store> store;
  std::unique_ptr<Liveness> liveness;
  std::string local_address = "127.0.0.1";
};

// A view of the run's store in which all keys begin with `prefix`.
c10::intrusive_ptr<c10d::Store> store_with_prefix(const Rendezvous& rendezvous, const std::string& prefix);

}  // namespace ringtron
