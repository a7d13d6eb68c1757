#include "ringtron/comm/rendezvous/rendezvous_client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "ringtron/base/error.h"
#include "ringtron/base/keyed_hash.h"

namespace ringtron {
namespace {

using std::chrono::milliseconds;
using wire::Kind;

constexpr milliseconds kConnectAgain(20);
constexpr milliseconds kLongestConnect(5000);
// The server answers at once; the rest is for a busy machine.
constexpr milliseconds kAnswerTime(2000);

milliseconds left_until(SteadyClock::time_point deadline) {
  return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(deadline - SteadyClock::now()));
}

// False at the end of time.
bool wait_readable(int socket, SteadyClock::time_point deadline) {
  pollfd wait{socket, POLLIN, 0};
  return ::poll(&wait, 1, static_cast<int>(std::min<std::int64_t>(left_until(deadline).count(), 1 << 30))) > 0;
}

// The next frame's body; empty and Kind::closing, with the reason in `why_not`, if the connection ends first.
std::string next_frame(const Descriptor& socket, wire::FrameReader& reader, SteadyClock::time_point deadline,
                       Kind& kind, std::string& why_not) {
  for (;;) {
    if (std::optional<wire::Frame> frame = reader.next()) {
      kind = frame->kind;
      return std::move(frame->body);
    }
    std::array<char, 4096> buffer;
    kind = Kind::closing;
    why_not = "it takes connections, but says nothing";
    if (!wait_readable(socket.get(), deadline)) return {};
    const ssize_t count = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
    why_not = "it ended the connection";
    if (count <= 0) return {};
    reader.feed({buffer.data(), static_cast<std::size_t>(count)});
  }
}

// What is said first in answer to the server's challenge. Throws Malformed if that is none.
wire::Packer first_words(const RendezvousAddress& server, const Claim& own, Kind kind, const std::string& challenge,
                         std::string& server_nonce, std::string& own_nonce) {
  wire::Unpacker in(challenge);
  if (kind != Kind::challenge || in.text() != wire::kMagic) throw wire::Malformed("no hub of ours");
  server_nonce = in.text();
  own_nonce = random_bytes(wire::kNonce);
  wire::Packer out;
  out.text(wire::kMagic).text(own_nonce).claim(own).text(wire::rank_proof(server.token, server_nonce, own_nonce, own));
  return out;
}

// One try of send_start_failure().
std::optional<std::string> try_to_send_start_failure(const RendezvousAddress& server, const Claim& own,
                                                     const std::string& why, SteadyClock::time_point deadline) {
  std::string ignored, server_nonce, own_nonce;
  const Descriptor socket =
      connect_to(server.host, server.port, std::min(kLongestConnect, left_until(deadline)), ignored);
  if (!socket.valid()) return {};
  wire::FrameReader reader(wire::kLargestHello);
  Kind kind;
  const std::string challenge = next_frame(socket, reader, deadline, kind, ignored);
  if (kind == Kind::closing) return {};
  const std::string bytes =
      wire::frame(Kind::cannot, first_words(server, own, kind, challenge, server_nonce, own_nonce).text(why).take());
  // A new connection takes as little as this at once.
  if (::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(bytes.size())) return {};
  const std::string answer = next_frame(socket, reader, deadline, kind, ignored);
  if (kind == Kind::heard) return answer;
  if (kind == Kind::closing) return {};
  throw wire::Malformed("another run's");
}

}  // namespace

std::optional<std::string> send_start_failure(const RendezvousAddress& server, const Claim& own, const std::string& why,
                                              milliseconds limit) {
  const auto deadline = SteadyClock::now() + limit;
  try {
    while (left_until(deadline) > kConnectAgain) {
      if (auto answer = try_to_send_start_failure(server, own, why, deadline)) return answer;
      std::this_thread::sleep_for(kConnectAgain);
    }
  } catch (const wire::Malformed&) {  // nobody there to tell
    return "";
  }
  return {};
}

RendezvousClient::RendezvousClient(const RendezvousAddress& server, Claim own, milliseconds timeout,
                                   SteadyClock::time_point start)
    : own_(std::move(own)), timeout_(timeout), deadline_(start + timeout) {
  while (!connect_once(server)) {
    if (left_until(deadline_) <= kConnectAgain) {
      throw CommError(fmt::format(
          "rendezvous: expected rank 0 at {} within {:g} s, it did not come ({}); check that rank 0 runs and that the address is right; "
          "this is {}",
          endpoint_text(server.host, server.port), static_cast<double>(timeout.count()) / 1000.0, why_not_,
          own_.who()));
    }
    std::this_thread::sleep_for(kConnectAgain);
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw CommError("rendezvous: cannot make a pipe; raise the limit of open files (ulimit -n)");
  wake_read_ = Descriptor(ends[0]);
  wake_write_ = Descriptor(ends[1]);
  thread_ = std::thread([this] { read_from_hub(); });
}

RendezvousClient::~RendezvousClient() { leave(true); }

// The next frame of a server that does not know us yet. Its body; empty and Kind::closing if the connection ends first.
std::string RendezvousClient::read_frame(Kind& kind) { return next_frame(socket_, reader_, deadline_, kind, why_not_); }

// One try to be let in. False if there was no answer; then why_not_ says why.
bool RendezvousClient::connect_once(const RendezvousAddress& server) {
  const auto refuse = [&](const std::string& why) {
    throw ConfigError(fmt::format("rendezvous: {} cannot join the run at {}: {}", own_.who(),
                                  endpoint_text(server.host, server.port), why));
  };
  reader_ = wire::FrameReader(wire::kLargestFrame);
  socket_ = connect_to(server.host, server.port, std::min(kLongestConnect, left_until(deadline_)), why_not_);
  if (!socket_.valid()) return false;
  try {
    Kind kind;
    const std::string challenge = read_frame(kind);
    if (kind == Kind::closing) return false;
    std::string server_nonce, own_nonce;
    send(Kind::hello, first_words(server, own_, kind, challenge, server_nonce, own_nonce).take());
    const std::string answer = read_frame(kind);
    if (kind == Kind::closing) return false;
    if (kind == Kind::refused) refuse(answer);
    if (kind == Kind::ended) throw CommError(fmt::format("rendezvous: {}; this is {}", answer, own_.who()));
    wire::Unpacker welcome(answer);
    if (kind != Kind::welcome ||
        !equal_in_constant_time(welcome.text(), wire::server_proof(server.token, server_nonce, own_nonce)))
      refuse("what listens there does not know the token of this run (RINGTRON_JOB_TOKEN)");
  } catch (const wire::Malformed&) {
    refuse("another program is using the port; choose another --master-port");
  }
  return true;
}

void RendezvousClient::send(Kind kind, std::string_view body) {
  const std::string bytes = wire::frame(kind, body);
  const std::lock_guard lock(sending_);
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const ssize_t count = ::send(socket_.get(), rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      rest.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      pollfd wait{socket_.get(), POLLOUT, 0};
      if (::poll(&wait, 1, static_cast<int>(kLongestConnect.count())) <= 0)
        return;  // a server that stands still: the answer's time runs out
    } else if (errno != EINTR) {
      return;  // broken: the reading side tells
    }
  }
}

void RendezvousClient::read_from_hub() {
  bool open = true;
  try {
    // What came with the welcome is in the buffer already.
    while (const std::optional<wire::Frame> frame = reader_.next()) handle(*frame);
    while (open) {
      std::array<pollfd, 2> waits{{{wake_read_.get(), POLLIN, 0}, {socket_.get(), POLLIN, 0}}};
      if (::poll(waits.data(), waits.size(), -1) < 0) continue;
      if (waits[0].revents != 0) return;
      open = read_some();
    }
  } catch (const wire::Malformed&) {  // whatever it was, rank 0 is not there any more
  }
  bool died = false;
  {
    const std::lock_guard lock(mutex_);
    died = !rank_0_leaves_;
    lost_ = lost_ || died;
    broken_ = died ? "rank 0 died" : "rank 0 has left the run";
  }
  if (died) liveness_.report({0, false});
  news_.notify_all();
}

// False at the end of the connection.
bool RendezvousClient::read_some() {
  std::array<char, 65536> buffer;
  const ssize_t count = ::recv(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (count <= 0) return false;
  reader_.feed({buffer.data(), static_cast<std::size_t>(count)});
  while (const std::optional<wire::Frame> frame = reader_.next()) handle(*frame);
  return true;
}

void RendezvousClient::handle(const wire::Frame& frame) {
  wire::Unpacker in(frame.body);
  std::unique_lock lock(mutex_, std::defer_lock);
  switch (frame.kind) {
    case Kind::reply: {
      StoreReply reply = StoreReply::from(frame.body);
      lock.lock();
      if (asked_.erase(reply.id) != 0) replies_[reply.id] = std::move(reply);
      break;
    }
    case Kind::roster: {
      std::vector<std::string> places;
      for (int rank = 0; rank < own_.world_size; ++rank) places.push_back(in.claim().place());
      liveness_.set_places(std::move(places));
      lock.lock();
      all_have_come_ = true;
      break;
    }
    case Kind::loss: {
      Liveness::Loss loss{in.number<int>(), in.number<bool>()};
      loss.place = in.text();
      if (loss.rank < 0 || loss.rank >= own_.world_size) throw wire::Malformed("no rank of this run");
      liveness_.report(std::move(loss));
      lock.lock();
      lost_ = true;
      break;
    }
    case Kind::ended:
      lock.lock();
      ended_ = frame.body;
      break;
    case Kind::closing:
      lock.lock();
      rank_0_leaves_ = true;
      break;
    default:
      throw wire::Malformed("no frame of a hub");
  }
  lock.unlock();
  news_.notify_all();
}

void RendezvousClient::wait_for_all() {
  std::unique_lock lock(mutex_);
  const auto decided = [this] { return all_have_come_ || lost_ || !ended_.empty() || !broken_.empty(); };
  if (!news_.wait_until(lock, deadline_, decided)) {
    lock.unlock();
    send(Kind::give_up, wire::Packer().number(std::int64_t{timeout_.count()}).take());
    lock.lock();
    news_.wait_for(lock, kAnswerTime, decided);
  }
  if (!all_have_come_) throw_missing_ranks(lock);
}

void RendezvousClient::throw_missing_ranks(std::unique_lock<std::mutex>& lock) const {
  const std::string ended = ended_;
  lock.unlock();
  if (!ended.empty()) throw CommError(fmt::format("rendezvous: {}; this is {}", ended, own_.who()));
  const std::string losses = describe(liveness_.losses(milliseconds(0)));
  throw CommError(fmt::format("rendezvous: {} before all {} ranks had come; this is {}",
                              losses.empty() ? "rank 0 left or stood still" : losses, own_.world_size, own_.who()));
}

StoreReply RendezvousClient::ask(StoreRequest request, milliseconds timeout) {
  const bool waits = request.op == StoreRequest::Op::get;
  std::uint32_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (!broken_.empty()) throw CommError(broken_);
    id = request.id = next_id_++;
    asked_[id] = true;
  }
  send(Kind::request, request.bytes());
  std::unique_lock lock(mutex_);
  news_.wait_for(lock, timeout, [&] { return replies_.contains(id) || !broken_.empty() || (waits && lost_); });
  asked_.erase(id);
  if (auto reply = replies_.extract(id)) return std::move(reply.mapped());
  if (!broken_.empty()) throw CommError(broken_);
  const bool lost = lost_;
  lock.unlock();
  if (waits) send(Kind::request, StoreRequest{.id = id, .op = StoreRequest::Op::cancel}.bytes());
  if (lost && waits) throw CommError("a rank was lost");
  throw CommError(fmt::format("Timed out after {:g} s in the run's store, key {}",
                              static_cast<double>(timeout.count()) / 1000.0,
                              request.keys.empty() ? "(none)" : request.keys.back()));
}

void RendezvousClient::leave(bool failed) {
  if (!thread_.joinable()) return;
  wake_write_.reset();
  thread_.join();
  send(failed ? Kind::failed : Kind::finished);
  {
    const std::lock_guard lock(mutex_);
    if (broken_.empty()) broken_ = "this rank has left the run";
  }
  news_.notify_all();
  const std::lock_guard lock(sending_);
  ::shutdown(socket_.get(),
             SHUT_WR);  // closed with the object: a late caller must not meet another file of the same number
}

}  // namespace ringtron
