// The star of connections: one thread polls them, on rank 0 all of them, elsewhere the one to rank 0.
#include "ringtron/comm/liveness.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <mutex>
#include <thread>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/comm/socket.h"

namespace ringtron {
namespace {

enum class Note : std::int32_t { hello, finished, failed, died };

struct Frame {
  Note note;
  std::int32_t rank;
};

// Eight bytes always fit a socket's buffer unless the peer has long stopped to read; then it does not matter.
void send_frame(int fd, Frame frame) {
  (void)::send(fd, &frame, sizeof(frame), MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool receive_frame(int fd, Frame& frame) {
  return ::recv(fd, &frame, sizeof(frame), MSG_WAITALL) == sizeof(frame);
}

}  // namespace

struct Liveness::State {
  struct Link {
    Descriptor socket;
    int rank = -1;  // -1 until its hello came
    bool ended = false;
  };

  int rank = 0;
  int port = 0;
  Descriptor listener;  // rank 0 only
  std::vector<Link> links;
  Descriptor wake_read;
  Descriptor wake_write;
  std::atomic<bool> failed = false;
  int exceptions_at_start = std::uncaught_exceptions();

  mutable std::mutex mutex;
  mutable std::condition_variable lost;
  std::vector<Loss> losses;
  std::map<int, std::function<void()>> callbacks;
  int next_callback = 0;
  bool called_back = false;
  std::thread thread;

  void run();
  bool read_link(Link& link);
  void note_loss(Loss loss, const Link* from);
  void accept_one();
};

Liveness::Liveness(std::unique_ptr<State> state) : state_(std::move(state)) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw CommError("liveness: cannot make a pipe");
  state_->wake_read = Descriptor(ends[0]);
  state_->wake_write = Descriptor(ends[1]);
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

std::unique_ptr<Liveness> Liveness::serve(int) {
  auto state = std::make_unique<State>();
  std::tie(state->listener, state->port) = listen_anywhere();
  return std::unique_ptr<Liveness>(new Liveness(std::move(state)));
}

std::unique_ptr<Liveness> Liveness::join(int rank, const std::string& host, int port) {
  auto state = std::make_unique<State>();
  state->rank = rank;
  state->port = port;
  state->links.push_back({connect_to(host, port), 0, false});
  send_frame(state->links[0].socket.get(), {Note::hello, rank});
  return std::unique_ptr<Liveness>(new Liveness(std::move(state)));
}

Liveness::~Liveness() {
  const bool failed = state_->failed || std::uncaught_exceptions() > state_->exceptions_at_start;
  state_->wake_write.reset();
  state_->thread.join();
  for (const State::Link& link : state_->links) {
    if (link.socket.valid())
      send_frame(link.socket.get(), {failed ? Note::failed : Note::finished, state_->rank});
  }
}

int Liveness::port() const {
  return state_->port;
}

std::vector<Liveness::Loss> Liveness::losses(std::chrono::milliseconds grace) const {
  std::unique_lock lock(state_->mutex);
  state_->lost.wait_for(lock, grace, [this] { return !state_->losses.empty(); });
  return state_->losses;
}

int Liveness::on_loss(std::function<void()> callback) {
  std::unique_lock lock(state_->mutex);
  const int number = state_->next_callback++;
  if (state_->called_back) {
    lock.unlock();
    callback();
  } else {
    state_->callbacks.emplace(number, std::move(callback));
  }
  return number;
}

void Liveness::forget(int callback) {
  // Callbacks run under the lock, so that after forget() none is running or will run.
  std::lock_guard lock(state_->mutex);
  state_->callbacks.erase(callback);
}

void Liveness::mark_failed() {
  state_->failed = true;
}

void Liveness::State::run() {
  for (;;) {
    std::vector<pollfd> waits{{wake_read.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    for (const Link& link : links)
      waits.push_back({link.socket.get(), POLLIN, 0});  // poll skips closed ones (-1)
    if (::poll(waits.data(), waits.size(), -1) < 0) continue;
    if (waits[0].revents != 0) return;
    const std::size_t known = links.size();
    if (waits[1].revents != 0) accept_one();
    for (std::size_t i = 0; i < known; ++i) {
      if (waits[i + 2].revents != 0 && !read_link(links[i])) links[i].socket.reset();
    }
  }
}

void Liveness::State::accept_one() {
  Descriptor socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket.valid()) return;
  for (const Loss& loss : losses)
    send_frame(socket.get(), {loss.failed ? Note::failed : Note::died, loss.rank});
  links.push_back({std::move(socket), -1, false});
}

// False when the connection is at its end.
bool Liveness::State::read_link(Link& link) {
  Frame frame;
  if (!receive_frame(link.socket.get(), frame)) {
    if (!link.ended && link.rank >= 0) note_loss({link.rank, false}, &link);
    return false;
  }
  switch (frame.note) {
    case Note::hello:
      link.rank = frame.rank;
      break;
    case Note::finished:
      link.ended = true;
      break;
    case Note::failed:
      link.ended = link.ended || frame.rank == link.rank;
      note_loss({frame.rank, true}, &link);
      break;
    case Note::died:
      note_loss({frame.rank, false}, &link);
      break;
  }
  return true;
}

void Liveness::State::note_loss(Loss loss, const Link* from) {
  std::lock_guard lock(mutex);
  losses.push_back(loss);
  if (rank == 0) {
    for (const Link& link : links) {
      if (&link != from && link.socket.valid()) {
        send_frame(link.socket.get(), {loss.failed ? Note::failed : Note::died, loss.rank});
      }
    }
  }
  lost.notify_all();
  if (called_back) return;
  called_back = true;
  for (const auto& [number, callback] : callbacks) callback();
}

std::string describe(const std::vector<Liveness::Loss>& losses) {
  std::vector<std::string> parts;
  for (const Liveness::Loss& loss : losses) {
    parts.push_back(fmt::format("rank {} {}", loss.rank, loss.failed ? "stopped with an error" : "died"));
  }
  return join(parts, "; ");
}

}  // namespace ringtron
