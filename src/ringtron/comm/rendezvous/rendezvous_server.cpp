#include "ringtron/comm/rendezvous/rendezvous_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <list>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "ringtron/base/clock.h"
#include "ringtron/base/error.h"
#include "ringtron/base/keyed_hash.h"
#include "ringtron/base/log.h"
#include "ringtron/comm/rendezvous/key_table.h"
#include "ringtron/comm/rendezvous/wire.h"

namespace ringtron {
namespace {

using wire::Kind;

// Once all ranks have come, only mistakes and strangers still connect: a good message for each, but after so many a
// pause.
constexpr int kLateVisitors = 20;
constexpr int kTold = 10;  // lines; who keeps coming does not fill the log
constexpr auto kPause = std::chrono::seconds(1);
// A rank that does not read what it asked for has stopped for good, or is no rank.
constexpr std::size_t kLargestBacklog = std::size_t{64} << 20;

struct Peer {
  Descriptor socket;
  std::string nonce = random_bytes(wire::kNonce);
  SteadyClock::time_point since = SteadyClock::now();
  wire::FrameReader reader{wire::kLargestHello};
  std::string unsent = {};
  int rank = -1;      // until it has proved the token and its claim holds
  bool left = false;  // it has said goodbye

  void flush() {
    while (!unsent.empty()) {
      const ssize_t count = ::send(socket.get(), unsent.data(), unsent.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (count < 0) break;  // whether it is gone, reading will tell
      unsent.erase(0, static_cast<std::size_t>(count));
    }
  }
  void send(Kind kind, std::string_view body = {}) {
    unsent += wire::frame(kind, body);
    flush();
  }
  // The other side reads to the end of what was sent.
  void dismiss() {
    ::shutdown(socket.get(), SHUT_WR);
    socket.reset();
  }
};

}  // namespace

struct RendezvousServer::State {
  Listeners listeners;
  RendezvousServerOptions options;
  Descriptor wake_read, wake_write;
  std::atomic<bool> failed = true;
  std::thread thread;
  std::mutex mutex;
  std::condition_variable news;
  bool a_rank_cannot = false;
  std::set<int> heard;  // the ranks that know it, beside rank 0

  // The thread's own.
  std::list<Peer> peers;
  std::vector<std::optional<Claim>> claims;  // by rank
  std::vector<std::string> losses;           // as loss frames' bodies
  std::vector<bool> lost;                    // by rank
  std::string why_ended;
  std::string cannot;  // what the first rank said that cannot start
  KeyTable keys;
  bool all_have_come = false;
  int late_visitors = 0;
  int told = 0;
  SteadyClock::time_point accept_after;

  std::size_t strangers() const {
    return static_cast<std::size_t>(std::ranges::count_if(peers, [](const Peer& peer) { return peer.rank < 0; }));
  }

  void run();
  bool accepts() const { return SteadyClock::now() >= accept_after; }
  std::optional<SteadyClock::time_point> next_deadline() const;
  void accept_from(int listener);
  void drop_silent();
  void read(Peer& peer);
  void handle(Peer& peer, const wire::Frame& frame);
  void greet(Peer& peer, const wire::Frame& frame);
  void join(Peer& peer, const Claim& claim, const std::string& rank_nonce);
  // Why the claim cannot stand beside what is known; empty if it can.
  std::string contradiction(const Claim& claim) const;
  // Rank 0 is here, so another one is no mistake in numbering this run's ranks but another run: it alone goes.
  bool refused_alone(const Claim& claim) const { return all_have_come || claim.rank == options.own.rank; }
  void note_end(Peer& peer, const Claim& claim, const std::string& why);
  void cannot_start(const Claim& claim, const std::string& why);
  void note_heard(int rank);
  void serve(Peer& peer, const std::string& body);
  void gone(Peer& peer);
  void note_loss(int rank, bool failed);
  void end_start(const std::string& why);
  void broadcast(Kind kind, std::string_view body = {}, int except = -1);
};

RendezvousServer::RendezvousServer(Listeners listeners, RendezvousServerOptions options)
    : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.claims.resize(static_cast<std::size_t>(options.own.world_size));
  state.lost.resize(state.claims.size());
  options.strangers = std::max(options.strangers, options.own.world_size);
  state.listeners = std::move(listeners);
  state.options = std::move(options);
  if (!state.options.cannot.empty()) state.cannot_start(state.options.own, state.options.cannot);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw CommError("rendezvous: cannot make a pipe; raise the limit of open files (ulimit -n)");
  state.wake_read = Descriptor(ends[0]);
  state.wake_write = Descriptor(ends[1]);
  state.thread = std::thread([&state] { state.run(); });
}

RendezvousServer::~RendezvousServer() { stop(true); }

int RendezvousServer::port() const { return state_->listeners.port; }

bool RendezvousServer::wait_until_heard(std::chrono::milliseconds limit) {
  std::unique_lock lock(state_->mutex);
  if (!state_->a_rank_cannot) return true;
  return state_->news.wait_for(lock, limit, [this] { return state_->heard.size() + 1 >= state_->claims.size(); });
}

void RendezvousServer::stop(bool failed) {
  if (!state_->thread.joinable()) return;
  state_->failed = failed;
  state_->wake_write.reset();
  state_->thread.join();
}

void RendezvousServer::State::run() {
  for (;;) {
    std::vector<pollfd> waits{{wake_read.get(), POLLIN, 0}};
    const bool open = accepts();
    for (const Descriptor& listener : listeners.sockets) waits.push_back({open ? listener.get() : -1, POLLIN, 0});
    const std::size_t first = waits.size();
    const std::size_t known = peers.size();
    for (const Peer& peer : peers)
      waits.push_back({peer.socket.get(), static_cast<short>(peer.unsent.empty() ? POLLIN : POLLIN | POLLOUT), 0});
    int limit = -1;
    if (const auto deadline = next_deadline()) {
      limit = static_cast<int>(std::max<std::int64_t>(
          0, std::chrono::ceil<std::chrono::milliseconds>(*deadline - SteadyClock::now()).count()));
    }
    if (::poll(waits.data(), waits.size(), limit) < 0) continue;
    if (waits[0].revents != 0) break;
    auto peer = peers.begin();
    for (std::size_t i = 0; i < known; ++i, ++peer) {
      if (!peer->socket.valid() || waits[first + i].revents == 0) continue;  // dropped meanwhile, or nothing to do
      if ((waits[first + i].revents & POLLOUT) != 0) peer->flush();
      if ((waits[first + i].revents & ~POLLOUT) != 0) read(*peer);
    }
    drop_silent();
    std::erase_if(peers, [](const Peer& one) { return !one.socket.valid(); });
    for (std::size_t i = 1; i < first; ++i) {
      if (waits[i].revents != 0) accept_from(waits[i].fd);
    }
  }
  if (failed) note_loss(0, true);
  broadcast(Kind::closing);
  peers.clear();
  listeners.sockets.clear();
}

std::optional<SteadyClock::time_point> RendezvousServer::State::next_deadline() const {
  std::optional<SteadyClock::time_point> next;
  const auto earliest = [&](SteadyClock::time_point at) { next = next ? std::min(*next, at) : at; };
  for (const Peer& peer : peers) {
    if (peer.rank < 0) earliest(peer.since + options.hello_time);
  }
  if (!accepts()) earliest(accept_after);
  return next;
}

void RendezvousServer::State::accept_from(int listener) {
  // No more in one go than a burst of ranks: those who have come already are served in between.
  for (int i = 0; i < options.strangers && accepts(); ++i) {
    Descriptor socket(::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      if (errno == EMFILE || errno == ENFILE) accept_after = SteadyClock::now() + kPause;
      return;
    }
    if (all_have_come && ++late_visitors % kLateVisitors == 0) accept_after = SteadyClock::now() + kPause;
    if (strangers() >= static_cast<std::size_t>(options.strangers)) {
      std::ranges::find_if(peers, [](const Peer& peer) {
        return peer.rank < 0 && peer.socket.valid();
      })->socket.reset();
      std::erase_if(peers, [](const Peer& one) { return !one.socket.valid(); });
    }
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    Peer& peer = peers.emplace_back(Peer{.socket = std::move(socket)});
    peer.send(Kind::challenge, wire::Packer().text(wire::kMagic).text(peer.nonce).take());
  }
}

void RendezvousServer::State::drop_silent() {
  for (Peer& peer : peers) {
    if (peer.rank < 0 && SteadyClock::now() - peer.since >= options.hello_time) peer.socket.reset();
    if (peer.unsent.size() > kLargestBacklog) gone(peer);
  }
}

void RendezvousServer::State::read(Peer& peer) {
  std::array<char, 65536> buffer;
  const ssize_t count =
      ::recv(peer.socket.get(), buffer.data(), peer.rank < 0 ? wire::kLargestHello : buffer.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) return gone(peer);
  peer.reader.feed({buffer.data(), static_cast<std::size_t>(count)});
  try {
    while (peer.socket.valid()) {
      const std::optional<wire::Frame> frame = peer.reader.next();
      if (!frame) return;
      handle(peer, *frame);
    }
  } catch (const wire::Malformed&) {
    gone(peer);
  }
}

void RendezvousServer::State::handle(Peer& peer, const wire::Frame& frame) {
  if (peer.rank < 0) return greet(peer, frame);
  switch (frame.kind) {
    case Kind::request:
      return serve(peer, frame.body);
    case Kind::finished:
      peer.left = true;
      return;
    case Kind::failed:
      peer.left = true;
      return note_loss(peer.rank, true);
    case Kind::give_up: {
      wire::Unpacker in(frame.body);
      const auto waited = in.number<std::int64_t>();
      in.end();
      std::vector<std::size_t> missing;
      for (std::size_t rank = 0; rank < claims.size(); ++rank) {
        if (!claims[rank]) missing.push_back(rank);
      }
      if (!missing.empty()) {
        end_start(fmt::format("expected {} ranks within {:g} s, rank(s) {} never came to {}", claims.size(),
                              static_cast<double>(waited) / 1000.0, fmt::join(missing, ", "), options.own.who()));
      }
      return;
    }
    default:
      throw wire::Malformed("no frame of a rank");
  }
}

void RendezvousServer::State::greet(Peer& peer, const wire::Frame& frame) {
  if (frame.kind != Kind::hello && frame.kind != Kind::cannot) throw wire::Malformed("no hello");
  wire::Unpacker in(frame.body);
  if (in.text() != wire::kMagic) throw wire::Malformed("no hello of ours");
  const std::string rank_nonce = in.text();
  const Claim claim = in.claim();
  const std::string proof = in.text();
  const std::string why = frame.kind == Kind::cannot ? in.text() : "";
  in.end();
  if (!equal_in_constant_time(proof, wire::rank_proof(options.token, peer.nonce, rank_nonce, claim))) {
    peer.send(Kind::refused,
              fmt::format("another run is using the port, with {} as its rank 0; choose another --master-port "
                          "(or give all ranks of one run the same RINGTRON_JOB_TOKEN)",
                          options.own.place()));
    return peer.dismiss();
  }
  if (frame.kind == Kind::cannot) return note_end(peer, claim, why);
  join(peer, claim, rank_nonce);
}

// What contradicts the run in a claim may be why the rank cannot start, as a batch that another world size does not
// divide: it ends the start as it would if the rank had come.
void RendezvousServer::State::note_end(Peer& peer, const Claim& claim, const std::string& why) {
  const std::string said = cannot;
  const std::string contradicts = contradiction(claim);
  if (!refused_alone(claim)) contradicts.empty() ? cannot_start(claim, why) : end_start(contradicts);
  peer.send(Kind::heard, said);
  peer.dismiss();
}

void RendezvousServer::State::cannot_start(const Claim& claim, const std::string& why) {
  if (cannot.empty()) cannot = why;
  // Before rank 0 reads in its own connection that the start is over: it then asks whether it has to stay for others.
  note_heard(claim.rank);
  end_start(fmt::format("{} ended before the ranks had met: {}", claim.who(), why));
  for (const Peer& peer : peers) {
    if (peer.rank >= 0) note_heard(peer.rank);
  }
}

void RendezvousServer::State::note_heard(int rank) {
  const std::lock_guard lock(mutex);
  a_rank_cannot = true;
  if (rank != options.own.rank) heard.insert(rank);
  news.notify_all();
}

std::string RendezvousServer::State::contradiction(const Claim& claim) const {
  std::string why = conflict(options.own, claim);
  if (!why.empty()) return why;
  // Rank 0 is this process, also before it has come over its own connection: nobody takes its place.
  const bool poses_as_own =
      claim.rank == options.own.rank && (claim.pid != options.own.pid || claim.host != options.own.host);
  const std::optional<Claim> first = poses_as_own ? options.own : claims[static_cast<std::size_t>(claim.rank)];
  return first ? same_rank_twice(*first, claim) : "";
}

void RendezvousServer::State::join(Peer& peer, const Claim& claim, const std::string& rank_nonce) {
  std::string why = contradiction(claim);
  const bool contradicts = !why.empty(), alone = refused_alone(claim);
  if (why.empty() && !losses.empty()) why = "the run has failed already";
  if (why.empty()) why = why_ended;
  if (!why.empty()) {
    const bool too_late = !contradicts && !cannot.empty();  // the claim is right, but there is no run any more
    peer.send(too_late ? Kind::ended : Kind::refused, why);
    peer.dismiss();
    if (too_late) note_heard(claim.rank);
    if (contradicts && !alone) end_start(why);
    if (contradicts && alone && ++told <= kTold) {
      warn_line("a process came to this run's port that is not of the run; it is refused, and the run goes on: {}",
                why);
    }
    return;
  }
  peer.rank = claim.rank;
  peer.reader.set_limit(wire::kLargestFrame);
  claims[static_cast<std::size_t>(claim.rank)] = claim;
  peer.send(Kind::welcome, wire::Packer().text(wire::server_proof(options.token, peer.nonce, rank_nonce)).take());
  all_have_come = std::ranges::all_of(claims, [](const auto& one) { return one.has_value(); });
  if (!all_have_come) return;
  wire::Packer roster;
  for (const auto& one : claims) roster.claim(*one);
  broadcast(Kind::roster, roster.take());
}

void RendezvousServer::State::serve(Peer& peer, const std::string& body) {
  for (const auto& [rank, reply] : keys.handle(peer.rank, StoreRequest::from(body))) {
    const auto to = std::ranges::find(peers, rank, &Peer::rank);
    if (to != peers.end() && to->socket.valid()) to->send(Kind::reply, reply.bytes());
  }
}

void RendezvousServer::State::gone(Peer& peer) {
  peer.socket.reset();
  if (peer.rank < 0) return;
  keys.forget(peer.rank);
  if (!peer.left) note_loss(peer.rank, false);
  peer.left = true;
}

void RendezvousServer::State::note_loss(int rank, bool failed) {
  const auto index = static_cast<std::size_t>(rank);
  if (lost[index]) return;
  lost[index] = true;
  const std::string place = claims[index] ? claims[index]->place() : options.own.place();
  losses.push_back(wire::Packer().number(rank).number(failed).text(place).take());
  broadcast(Kind::loss, losses.back(), rank);
}

void RendezvousServer::State::end_start(const std::string& why) {
  if (!why_ended.empty()) return;
  why_ended = why;
  broadcast(Kind::ended, why);
}

void RendezvousServer::State::broadcast(Kind kind, std::string_view body, int except) {
  for (Peer& peer : peers) {
    if (peer.rank >= 0 && peer.rank != except && peer.socket.valid()) peer.send(kind, body);
  }
}

}  // namespace ringtron
