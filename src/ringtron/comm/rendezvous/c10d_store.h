// Internal to comm: the run's store in the form that c10d's back ends want. A view of a RendezvousClient; any thread
// may use it.
#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <memory>
#include <string>
#include <vector>

#include "ringtron/comm/rendezvous/rendezvous_client.h"

namespace ringtron {

// Waits throw CommError as RendezvousClient::ask() says: at the timeout, and at once when a rank is lost.
class C10dStore final : public c10d::Store {
 public:
  using Bytes = std::vector<std::uint8_t>;

  C10dStore(std::shared_ptr<RendezvousClient> link, std::chrono::milliseconds timeout)
      : Store(timeout), link_(std::move(link)) {}

  c10::intrusive_ptr<Store> clone() override { return c10::make_intrusive<C10dStore>(link_, timeout_); }
  void set(const std::string& key, const Bytes& value) override;
  Bytes compareSet(const std::string& key, const Bytes& expected, const Bytes& desired) override;
  Bytes get(const std::string& key) override;
  std::int64_t add(const std::string& key, std::int64_t value) override;
  bool deleteKey(const std::string& key) override;
  bool check(const std::vector<std::string>& keys) override;
  std::int64_t getNumKeys() override;
  void wait(const std::vector<std::string>& keys) override { wait(keys, timeout_); }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) override;
  bool hasExtendedApi() const override { return false; }

 private:
  StoreReply ask(StoreRequest request) { return link_->ask(std::move(request), timeout_); }

  std::shared_ptr<RendezvousClient> link_;
};

}  // namespace ringtron
