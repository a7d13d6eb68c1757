#include "ringtron/comm/peer_copies.h"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

// How long the courier sleeps between two looks. A message is late by half of it; a message of 8 MB takes ten times as long.
constexpr auto kLook = std::chrono::microseconds(2);

// Sleeps as short as kLook: the system's default adds 50 microseconds. Of this thread alone.
void ask_for_short_sleeps() {
  ::prctl(PR_SET_TIMERSLACK, 1UL);
}

}  // namespace

PeerCopies::PeerCopies(PeerBoard board, int rank, std::unique_ptr<PeerMemory> memory,
                       std::function<void(const std::string&)> failed)
    : board_(board), rank_(rank), memory_(std::move(memory)), failed_(std::move(failed)), courier_([this] { run_courier(); }) {}

PeerCopies::~PeerCopies() {
  drain();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  courier_.join();
  // Streams may still look at the flags, which go with it; and after a failure the process ends.
  if (released_) static_cast<void>(memory_.release());
}

void PeerCopies::drain() {
  if (std::uncaught_exceptions() > 0) released_ = true;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return released_ || (jobs_.empty() && !fetching_); });
  }
  if (!released_) memory_->finish();
}

PeerCopies::Ticket PeerCopies::exchange(std::span<const Send> sends, std::span<const Receive> receives) {
  Ticket ticket{.exchange = ++exchanges_, .moved = {}};
  Job job{.exchange = ticket.exchange, .peers = {}};
  for (const Receive& message : receives) {
    if (message.tensor.numel() == 0) continue;
    auto known = std::ranges::find(job.peers, message.peer, &Incoming::peer);
    if (known == job.peers.end()) {
      job.peers.push_back({.peer = message.peer, .places = {}});
      known = std::prev(job.peers.end());
      ticket.moved.push_back(&board_.moved(message.peer, rank_));
    }
    known->places.push_back({message.tensor.data_ptr(), static_cast<std::int64_t>(message.tensor.nbytes())});
  }
  // Also of a rank that only watches: its peers' next exchange may reuse what this one is about.
  memory_->mark(board_.ready(rank_), ticket.exchange);
  // Before the notices: a peer whose ring to this rank is full waits for the courier to read.
  if (!job.peers.empty()) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_all();
  }
  for (const Send& message : sends) {
    if (message.tensor.numel() == 0) continue;
    Flag* const moved = &board_.moved(rank_, message.peer);
    if (std::ranges::find(ticket.moved, moved) == ticket.moved.end()) ticket.moved.push_back(moved);
    post(message.peer, {.exchange = ticket.exchange,
                        .where = memory_->exported(message.tensor),
                        .bytes = static_cast<std::int64_t>(message.tensor.nbytes())});
  }
  return ticket;
}

void PeerCopies::post(int peer, const Notice& notice) {
  while (!board_.notices(rank_, peer).push(notice)) {
    if (released_) return;  // the caller's next step says why
    std::this_thread::sleep_for(kLook);
  }
}

void PeerCopies::wait(const Ticket& ticket) {
  if (!ticket.moved.empty()) memory_->wait(ticket.moved, ticket.exchange);
}

bool PeerCopies::has_ended(const Ticket& ticket) {
  return std::ranges::all_of(ticket.moved, [&](Flag* flag) { return reached(*flag, ticket.exchange); });
}

void PeerCopies::release() {
  released_ = true;
  changed_.notify_all();
  // Beyond every exchange there can have been, and still later than all of them to a comparison with wrap-around.
  const std::uint32_t late = exchanges_ + (1U << 30U);
  for (int peer = 0; peer < board_.ranks(); ++peer) {
    for (Flag* flag : {&board_.moved(peer, rank_), &board_.moved(rank_, peer)}) {
      std::atomic_ref<Flag>(*flag).store(late, std::memory_order_release);
    }
  }
}

void PeerCopies::run_courier() {
  ask_for_short_sleeps();
  try {
    for (;;) {
      Job job;
      {
        std::unique_lock lock(mutex_);
        fetching_ = false;
        changed_.notify_all();
        changed_.wait(lock, [&] { return stopping_ || released_ || !jobs_.empty(); });
        if (released_ || jobs_.empty()) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
        fetching_ = true;
      }
      fetch_all(std::move(job));
    }
  } catch (const std::exception& error) {
    failed_(error.what());
    // Nothing more can come: who waits for this thread does not.
    const std::lock_guard lock(mutex_);
    released_ = true;
    changed_.notify_all();
  }
}

void PeerCopies::fetch_all(Job job) {
  while (!job.peers.empty()) {
    if (released_) return;
    bool moved = false;
    for (Incoming& incoming : job.peers) moved |= fetch(job.exchange, incoming);
    std::erase_if(job.peers, [](const Incoming& incoming) { return incoming.fetched == incoming.places.size(); });
    if (!moved && !job.peers.empty()) std::this_thread::sleep_for(kLook);
  }
}

bool PeerCopies::fetch(std::uint32_t exchange, Incoming& incoming) {
  if (!reached(board_.ready(rank_), exchange) || !reached(board_.ready(incoming.peer), exchange)) return false;
  NoticeRing& notices = board_.notices(incoming.peer, rank_);
  bool moved = false;
  while (incoming.fetched < incoming.places.size()) {
    const Notice* const notice = notices.front();
    if (notice == nullptr) return moved;
    const Place& place = incoming.places[incoming.fetched];
    RT_CHECK(notice->exchange == exchange && notice->bytes == place.bytes,
             "exchange {}, message {} from rank {} of the group: expected {} bytes, got {} of exchange {}", exchange,
             incoming.fetched, incoming.peer, place.bytes, notice->bytes, notice->exchange);
    memory_->copy(place.to, notice->where, place.bytes);
    notices.pop();
    ++incoming.fetched;
    moved = true;
  }
  memory_->signal(board_.moved(incoming.peer, rank_), exchange);
  return moved;
}

}  // namespace ringtron
