#include "ringtron/launch/output_queue.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "ringtron/base/clock.h"

namespace ringtron {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLastWait(3000);   // at the end, for a reader that has stopped
constexpr milliseconds kBeforeRoom(500);  // then its pipe is enlarged
constexpr milliseconds kLook(50);
constexpr int kLargePipe = 1 << 20;  // what Linux allows anyone
constexpr std::size_t kFitsLargePipe = 448
                                       << 10;  // beside what is in it, also where each line takes two thirds of a page

}  // namespace

struct OutputQueue::State {
  State(int file, std::string its_name) : fd(file), name(std::move(its_name)) {}

  const int fd;
  const std::string name;
  mutable std::mutex mutex;
  std::condition_variable arrived;
  mutable std::condition_variable written;
  std::deque<std::string> lines;
  std::size_t bytes = 0;     // of `lines`
  std::int64_t dropped = 0;  // and not told yet
  bool writing = false;      // a line is out of the deque and not yet in the file
  bool gone = false;         // nobody will ever read
  bool closed = false;
  bool torn = false;  // a line ended in its middle
  SteadyClock::time_point progress = SteadyClock::now();

  bool idle() const { return gone || (lines.empty() && !writing); }
  bool stopped() const { return !idle() && SteadyClock::now() - progress > kPatience; }
  void run();
  bool write_all(std::string_view text);
  void drop_oldest(std::size_t limit);
};

// The oldest whole lines go until `limit` bytes are left. The caller holds the lock.
void OutputQueue::State::drop_oldest(std::size_t limit) {
  while (bytes > limit && lines.size() > 1) {
    dropped += std::ranges::count(lines.front(), '\n');
    bytes -= lines.front().size();
    lines.pop_front();
  }
}

// In pieces that a pipe takes whole, so that progress shows. False if the file does not take it now (disk full); `gone`
// if never.
bool OutputQueue::State::write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), std::min<std::size_t>(text.size(), PIPE_BUF));
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
      const std::lock_guard lock(mutex);
      progress = SteadyClock::now();
      torn = !text.empty();
    } else if (errno == EAGAIN) {  // somebody else has made the file non-blocking
      pollfd wait = {.fd = fd, .events = POLLOUT, .revents = 0};
      ::poll(&wait, 1, -1);
    } else if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) {
      return false;
    } else if (errno != EINTR) {
      const std::lock_guard lock(mutex);
      gone = true;  // a closed terminal or pipe must not end a training run
      return true;
    }
  }
  return true;
}

void OutputQueue::State::run() {
  std::unique_lock lock(mutex);
  while (true) {
    arrived.wait(lock, [this] { return closed || (!gone && !lines.empty()); });
    if (closed) return;
    const std::int64_t missing = std::exchange(dropped, 0);
    std::string text = torn ? "\n" : "";
    if (missing > 0)
      text += fmt::format("ringrun: {} lines of {} are missing here: they could not be written\n", missing, name);
    text += lines.front();
    const std::int64_t taken = std::ranges::count(lines.front(), '\n');
    bytes -= lines.front().size();
    lines.pop_front();
    writing = true;
    lock.unlock();
    const bool done = write_all(text);
    lock.lock();
    writing = false;
    if (!done) dropped += missing + taken;
    if (gone) {
      lines.clear();
      bytes = 0;
    }
    if (idle()) written.notify_all();
  }
}

OutputQueue::OutputQueue(int fd, std::string name) : state_(std::make_shared<State>(fd, std::move(name))) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  // Detached: nothing can wake a thread from a write that nobody reads, and the process must end all the same.
  std::thread([state = state_] { state->run(); }).detach();
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

OutputQueue::~OutputQueue() {
  const std::lock_guard lock(state_->mutex);
  state_->closed = true;
  state_->arrived.notify_all();
}

void OutputQueue::put(std::string lines) {
  const std::lock_guard lock(state_->mutex);
  if (state_->gone) return;
  if (state_->idle()) state_->progress = SteadyClock::now();
  state_->bytes += lines.size();
  state_->lines.push_back(std::move(lines));
  state_->drop_oldest(state_->stopped() ? kKept : kMost);
  state_->arrived.notify_one();
}

bool OutputQueue::is_busy() const {
  const std::lock_guard lock(state_->mutex);
  return state_->bytes > kKept && !state_->stopped();
}

milliseconds OutputQueue::stalled_for() const {
  const std::lock_guard lock(state_->mutex);
  if (state_->idle()) return milliseconds(0);
  return std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(SteadyClock::now() - state_->progress));
}

bool OutputQueue::wait_until_written(milliseconds time) const {
  std::unique_lock lock(state_->mutex);
  return state_->written.wait_for(lock, time, [this] { return state_->idle(); });
}

void OutputQueue::enlarge_pipe() {
  struct stat file = {};
  if (::fstat(state_->fd, &file) != 0 || !S_ISFIFO(file.st_mode)) return;
  const std::lock_guard lock(state_->mutex);  // so that the oldest lines do not take the new room
  if (::fcntl(state_->fd, F_GETPIPE_SZ) >= kLargePipe || ::fcntl(state_->fd, F_SETPIPE_SZ, kLargePipe) < 0) return;
  state_->drop_oldest(kFitsLargePipe);
}

std::int64_t OutputQueue::missing() const {
  const std::lock_guard lock(state_->mutex);
  if (state_->gone) return 0;  // nobody is there who could miss them
  std::int64_t count = state_->dropped + (state_->writing ? 1 : 0);
  for (const std::string& lines : state_->lines) count += std::ranges::count(lines, '\n');
  return count;
}

const std::string& OutputQueue::name() const { return state_->name; }

namespace {

bool one_file(int a, int b) {
  struct stat first = {}, second = {};
  return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

// Waits for both as flush() says.
void wait_for(const std::vector<OutputQueue*>& queues, milliseconds last_wait, const std::function<bool()>& hurry) {
  const auto start = SteadyClock::now();
  const auto waited = [start] { return std::chrono::duration_cast<milliseconds>(SteadyClock::now() - start); };
  const auto is_read = [&](const OutputQueue* queue) {
    const milliseconds stalled = queue->stalled_for();
    return stalled.count() > 0 &&
           std::min(stalled, waited()) < last_wait;  // a stop from before is given its chance, too
  };
  while (waited() < Outputs::kLongestFlush && !hurry()) {
    const auto next = std::ranges::find_if(queues, is_read);
    if (next == queues.end()) return;
    for (OutputQueue* queue : queues) {
      if (queue->stalled_for() > kBeforeRoom) queue->enlarge_pipe();
    }
    (*next)->wait_until_written(kLook);
  }
}

}  // namespace

Outputs::Outputs()
    : err_(std::make_unique<OutputQueue>(STDERR_FILENO, one_file(STDOUT_FILENO, STDERR_FILENO) ? "output" : "stderr")),
      out_(one_file(STDOUT_FILENO, STDERR_FILENO) ? nullptr : std::make_unique<OutputQueue>(STDOUT_FILENO, "stdout")),
      pipe_before_(::signal(SIGPIPE, SIG_IGN)),
      size_before_(::signal(SIGXFSZ, SIG_IGN)) {}

Outputs::~Outputs() {
  out_.reset();
  err_.reset();
  ::signal(SIGXFSZ, size_before_);
  ::signal(SIGPIPE, pipe_before_);
}

void Outputs::flush(const std::function<bool()>& hurry) {
  std::vector<OutputQueue*> queues = {err_.get()};
  if (out_) queues.push_back(out_.get());
  wait_for(queues, kLastWait, hurry);
  if (!out_) return;
  bool told = false;
  for (const auto& [lost, other] : {std::pair(out_.get(), err_.get()), std::pair(err_.get(), out_.get())}) {
    const std::int64_t missing = lost->missing();
    if (missing == 0 || other->missing() != 0) continue;
    other->put(
        fmt::format("ringrun: the last {} lines of {} are lost: they could not be written\n", missing, lost->name()));
    told = true;
  }
  if (told) wait_for(queues, kBeforeRoom, hurry);
}

}  // namespace ringtron
