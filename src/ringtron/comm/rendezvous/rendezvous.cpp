// Opens the server on rank 0, joins it on every rank and waits until all ranks have come.
#include "ringtron/comm/rendezvous/rendezvous.h"

#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string_view>
#include <vector>

#include "ringtron/base/check.h"
#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/keyed_hash.h"
#include "ringtron/base/log.h"
#include "ringtron/comm/rendezvous/c10d_store.h"
#include "ringtron/comm/rendezvous/rendezvous_store.h"
#include "ringtron/comm/rendezvous/socket.h"
#include "ringtron/comm/rendezvous/start_failure.h"

namespace ringtron {
namespace {

using std::chrono::milliseconds;

// How long rank 0 asks a port that is taken for the name of its owner.
constexpr milliseconds kAskOwner(2000);
// After this, rank 0 says that it still waits for latecomers, to tell them of a start that has ended.
constexpr milliseconds kReportSoon(10'000);

milliseconds left_of(const RendezvousOptions& options, SteadyClock::time_point start) {
  const auto left = options.timeout - (SteadyClock::now() - start);
  return std::max(milliseconds(1), std::chrono::ceil<milliseconds>(left));
}

[[noreturn]] void throw_port_in_use(const RendezvousOptions& options, const Claim& own) {
  try {
    RendezvousClient(RendezvousAddress{options.host, options.port, options.token}, own, kAskOwner);
  } catch (const CommError&) {  // it does not say
  }
  throw ConfigError(
      fmt::format("rendezvous: {} cannot listen at {}: another program is using the port; choose another --master-port",
                  own.who(), endpoint_text(options.host, options.port)));
}

std::unique_ptr<RendezvousServer> open_server(const RendezvousOptions& options, int port, const Claim& own,
                                              const std::string& token, const std::string& cannot = {}) {
  Listeners listeners = listen_at(options.host, port, options.one_machine);
  if (listeners.port_in_use) throw_port_in_use(options, own);
  return std::make_unique<RendezvousServer>(std::move(listeners),
                                            RendezvousServerOptions{.own = own, .token = token, .cannot = cannot});
}

// The launcher's store takes anybody, so it is only asked where the server of this run is, and for the token that rank
// 0 made.
RendezvousAddress publish_in_launcher_store(const RendezvousOptions& options, const Claim& own,
                                            std::unique_ptr<RendezvousServer>& server, const std::string& cannot = {}) {
  const std::string prefix = options.prefix.empty() ? "ringtron" : options.prefix;
  c10d::TCPStoreOptions tcp;
  tcp.port = static_cast<std::uint16_t>(options.port);
  tcp.waitWorkers = false;
  tcp.timeout = options.timeout;
  const auto start = SteadyClock::now();
  c10::intrusive_ptr<c10d::Store> store;
  try {
    store = c10::make_intrusive<c10d::PrefixStore>(prefix, c10::make_intrusive<c10d::TCPStore>(options.host, tcp));
  } catch (const std::exception& error) {
    throw CommError(fmt::format(
        "rendezvous: {} waited {:g} s for the launcher's store at {}, which did not come; check that the launcher "
        "runs and that the address is right",
        own.who(), static_cast<double>(options.timeout.count()) / 1000.0, endpoint_text(options.host, options.port)));
  }
  try {
    if (options.rank == 0 && store->add("hubs", 1) == 1) {  // a second rank 0 meets the first at its server
      const std::string token = hex(random_bytes(16));
      server = open_server(options, 0, own, token, cannot);
      const std::string address = fmt::format("{} {}", server->port(), token);
      store->set("hub", std::vector<std::uint8_t>(address.begin(), address.end()));
    }
    store->wait({"hub"}, left_of(options, start));
    const std::vector<std::uint8_t> address = store->get("hub");
    const std::string text(address.begin(), address.end());
    return {options.host, std::stoi(text), text.substr(text.find(' ') + 1)};
  } catch (const ConfigError&) {
    throw;
  } catch (const CommError&) {
    throw;
  } catch (const std::exception& error) {
    throw CommError(fmt::format(
        "rendezvous: expected rank 0 within {:g} s in the launcher's store at {}, it never came; this is {}",
        static_cast<double>(options.timeout.count()) / 1000.0, endpoint_text(options.host, options.port), own.who()));
  }
}

// One try of report_start_failure(), which opens `server` on rank 0. Nothing if not all have heard it when
// options.timeout is over.
std::optional<bool> try_to_report(const RendezvousOptions& options, const std::string& reason,
                                  std::unique_ptr<RendezvousServer>& server) {
  const auto start = SteadyClock::now();
  const Claim own = own_claim(options.rank, options.world_size);
  RendezvousAddress address{options.host, options.port, options.token};
  if (server) {  // of the try before
  } else if (options.launcher_hosts_store) {
    try {
      address = publish_in_launcher_store(options, own, server, reason);
    } catch (const CommError&) {
      return std::nullopt;
    }
  } else if (options.rank == 0) {
    server = open_server(options, options.port, own, options.token, reason);
  }
  if (server) return server->wait_until_heard(left_of(options, start)) ? std::optional(false) : std::nullopt;
  if (options.rank == 0) return false;  // another rank 0 is there
  const std::optional<std::string> said = send_start_failure(address, own, reason, left_of(options, start));
  return said ? std::optional(*said == reason) : std::nullopt;
}

}  // namespace

RendezvousOptions with_launcher_store(RendezvousOptions options) {
  const char* hosted = std::getenv("TORCHELASTIC_USE_AGENT_STORE");
  options.launcher_hosts_store = hosted != nullptr && std::string_view(hosted) == "True";
  const char* attempt = std::getenv("TORCHELASTIC_RESTART_COUNT");
  if (options.launcher_hosts_store && attempt != nullptr) options.prefix = fmt::format("ringtron/attempt_{}", attempt);
  return options;
}

Rendezvous::Rendezvous(RendezvousOptions options) : options_(std::move(options)), impl_(std::make_unique<Impl>()) {
  RT_CHECK(options_.rank >= 0 && options_.rank < options_.world_size, "rank {} of {} in rendezvous", options_.rank,
           options_.world_size);
  if (options_.world_size == 1) return;
  const auto start = SteadyClock::now();
  impl_->local_address = local_address_towards(options_.host);
  const Claim own = own_claim(options_.rank, options_.world_size);
  RendezvousAddress address{options_.host, options_.port, options_.token};
  if (options_.launcher_hosts_store) {
    address = publish_in_launcher_store(options_, own, impl_->server);
  } else if (options_.rank == 0) {
    impl_->server = open_server(options_, options_.port, own, options_.token);
  }
  try {
    impl_->link = std::make_shared<RendezvousClient>(address, own, options_.timeout, start);
    impl_->link->wait_for_all();
  } catch (const CommError& error) {
    if (impl_->server && !impl_->server->wait_until_heard(std::min(kReportSoon, left_of(options_, start)))) {
      const milliseconds left = left_of(options_, start);
      warn_line("rank 0 stays up to {:.0f} s, to tell the ranks that have not come yet: {}",
                static_cast<double>(left.count()) / 1000.0, error.what());
      impl_->server->wait_until_heard(left);
    }
    throw;
  }
  impl_->store = c10::make_intrusive<C10dStore>(impl_->link, options_.timeout);
}

bool report_start_failure(RendezvousOptions options, const std::string& why, const std::function<void()>& still_waits,
                          milliseconds soon) {
  std::string reason = why;
  if (reason.size() > wire::kLargestReason)
    reason = fmt::format("{}... ({:016x})", why.substr(0, wire::kLargestReason - 30), hash64(why));
  const auto start = SteadyClock::now();
  const RendezvousOptions whole = options;
  options.timeout = std::min(soon, whole.timeout);
  try {
    std::unique_ptr<RendezvousServer> server;
    if (const auto said = try_to_report(options, reason, server)) return *said;
    if (soon >= whole.timeout) return false;
    still_waits();
    options.timeout = left_of(whole, start);
    return try_to_report(options, reason, server).value_or(false);
  } catch (const std::exception&) {  // nobody can be reached; this rank's own message stands
    return false;
  }
}

Rendezvous::~Rendezvous() = default;

Rendezvous::Impl::~Impl() {
  const bool failed = std::uncaught_exceptions() > exceptions_at_start || (link && link->liveness().marked_failed());
  if (link) link->leave(failed);
  if (server) server->stop(failed);
}

const std::string& Rendezvous::local_address() const { return impl_->local_address; }

Liveness* Rendezvous::liveness() const { return impl_->link ? &impl_->link->liveness() : nullptr; }

c10::intrusive_ptr<c10d::Store> store_with_prefix(const Rendezvous& rendezvous, const std::string& prefix) {
  RT_CHECK(rendezvous.impl().store, "a run of one process has no store");
  return c10::make_intrusive<c10d::PrefixStore>(prefix, rendezvous.impl().store);
}

}  // namespace ringtron
