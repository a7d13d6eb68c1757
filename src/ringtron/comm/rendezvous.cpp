// Joins the run's store and waits until all ranks have come.
#include "ringtron/comm/rendezvous.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>
#include <string_view>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/comm/rendezvous_store.h"
#include "ringtron/comm/socket.h"

namespace ringtron {
namespace {

std::string joined_key(int rank) {
  return fmt::format("joined/{}", rank);
}

std::string seconds_text(std::chrono::milliseconds duration) {
  return fmt::format("{:g} s", static_cast<double>(duration.count()) / 1000.0);
}

c10::intrusive_ptr<c10d::Store> open_store(const RendezvousOptions& options) {
  c10d::TCPStoreOptions tcp;
  tcp.port = static_cast<std::uint16_t>(options.port);
  tcp.isServer = options.rank == 0 && !options.launcher_hosts_store;
  tcp.waitWorkers = false;  // we wait ourselves, so as to name the missing ranks
  tcp.timeout = options.timeout;
  try {
    return c10::make_intrusive<c10d::TCPStore>(options.host, tcp);
  } catch (const std::exception& error) {
    const std::string reason = std::string(error.what()).substr(0, std::string_view(error.what()).find('\n'));
    if (tcp.isServer) {
      throw CommError(
          fmt::format("rendezvous: rank 0 cannot open the store at {}:{}; is another run using the port? "
                      "Choose another --master-port. [{}]",
                      options.host, options.port, reason));
    }
    throw CommError(
        fmt::format("rendezvous: rank {} waited {} for the store of rank 0 at {}:{}, which did not come; "
                    "check that rank 0 runs and that the address is right. [{}]",
                    options.rank, seconds_text(options.timeout), options.host, options.port, reason));
  }
}

void wait_for_all(const RendezvousOptions& options, c10d::Store& store) {
  std::vector<std::string> keys;
  for (int rank = 0; rank < options.world_size; ++rank) keys.push_back(joined_key(rank));
  store.set(joined_key(options.rank), std::vector<std::uint8_t>{1});
  try {
    store.wait(keys, options.timeout);
  } catch (const std::exception& error) {
    std::vector<int> missing;
    try {
      for (int rank = 0; rank < options.world_size; ++rank) {
        if (!store.check({joined_key(rank)})) missing.push_back(rank);
      }
    } catch (const std::exception&) {
      throw CommError(
          fmt::format("rendezvous: rank {} lost the store at {}:{} (rank 0 or the launcher died) while it "
                      "waited for all {} ranks",
                      options.rank, options.host, options.port, options.world_size));
    }
    throw CommError(fmt::format(
        "rendezvous: expected {} ranks within {}, rank(s) {} never came; this is rank {}", options.world_size,
        seconds_text(options.timeout), fmt::join(missing, ", "), options.rank));
  }
}

std::unique_ptr<Liveness> start_liveness(const RendezvousOptions& options, c10d::Store& store) {
  const std::string key = "liveness_port";
  if (options.rank == 0) {
    auto liveness = Liveness::serve(options.world_size);
    const std::string port = std::to_string(liveness->port());
    store.set(key, std::vector<std::uint8_t>(port.begin(), port.end()));
    return liveness;
  }
  std::vector<std::uint8_t> port;
  try {
    port = store.get(key);
  } catch (const std::exception& error) {
    throw CommError(fmt::format("rendezvous: expected rank 0 within {}, it never came; this is rank {}",
                                seconds_text(options.timeout), options.rank));
  }
  return Liveness::join(options.rank, options.host, std::stoi(std::string(port.begin(), port.end())));
}

}  // namespace

RendezvousOptions with_launcher_store(RendezvousOptions options) {
  const char* hosted = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  options.launcher_hosts_store = hosted != nullptr && std::string_view(hosted) == "True";
  const char* attempt = std::getenv("TORCHELASTIC_RESTART_COUNT");
  if (options.launcher_hosts_store && attempt != nullptr)
    options.prefix = fmt::format("ringtron/attempt_{}", attempt);
  return options;
}

Rendezvous::Rendezvous(RendezvousOptions options)
    : options_(std::move(options)), impl_(std::make_unique<Impl>()) {
  RT_CHECK(options_.rank >= 0 && options_.rank < options_.world_size, "rank {} of {} in rendezvous",
           options_.rank, options_.world_size);
  if (options_.world_size == 1) return;
  impl_->local_address = local_address_towards(options_.host);
  const std::string prefix = options_.prefix.empty() ? "ringtron" : options_.prefix;
  auto store = open_store(options_);
  store->setTimeout(options_.timeout);
  impl_->store = c10::make_intrusive<c10d::PrefixStore>(prefix, std::move(store));
  impl_->liveness = start_liveness(options_, *impl_->store);
  wait_for_all(options_, *impl_->store);
}

Rendezvous::~Rendezvous() = default;

const std::string& Rendezvous::local_address() const {
  return impl_->local_address;
}

Liveness* Rendezvous::liveness() const {
  return impl_->liveness.get();
}

c10::intrusive_ptr<c10d::Store> store_with_prefix(const Rendezvous& rendezvous, const std::string& prefix) {
  RT_CHECK(rendezvous.impl().store, "a run of one process has no store");
  return c10::make_intrusive<c10d::PrefixStore>(prefix, rendezvous.impl().store);
}

}  // namespace ringtron
