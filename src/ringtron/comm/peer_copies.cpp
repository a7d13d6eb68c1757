#include "ringtron/comm/peer_copies.h"

#include <algorithm>
#include <exception>
#include <thread>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

void add_once(std::vector<Flag*>& flags, Flag& flag) {
  if (std::ranges::find(flags, &flag) == flags.end()) flags.push_back(&flag);
}

}  // namespace

PeerCopies::~PeerCopies() {
  try {
    drain();
  } catch (const std::exception&) {  // the device has failed, and what it does is not known
    released_ = true;
  }
  // Streams may still look at the flags, which would go with it; and after a failure the process ends.
  if (released_) static_cast<void>(memory_.release());
}

void PeerCopies::drain() {
  if (std::uncaught_exceptions() > 0) release();
  if (!released_) memory_->finish();
}

PeerCopies::Ticket PeerCopies::exchange(std::span<const Send> sends, std::span<const Receive> receives,
                                        const std::function<void()>& still_well) {
  Ticket ticket{.exchange = ++exchanges_, .moved = {}};
  std::vector<Flag*> ready;
  std::vector<std::pair<int, Notice>> notices;
  for (const Send& message : sends) {
    if (message.tensor.numel() == 0) continue;
    add_once(ready, board_.ready(rank_, message.peer));
    add_once(ticket.moved, board_.moved(rank_, message.peer));
    notices.emplace_back(message.peer, Notice{.exchange = ticket.exchange,
                                              .where = memory_->exported(message.tensor),
                                              .bytes = static_cast<std::int64_t>(message.tensor.nbytes())});
  }
  std::vector<Incoming> coming = incoming(receives);
  if (notices.empty() && coming.empty()) return ticket;
  memory_->mark(ready, ticket.exchange);

  // Posting and taking by turns: with many messages a ring is full until its reader, who posts as well, has read.
  std::size_t posted = 0;
  while (posted < notices.size() || !coming.empty()) {
    const std::size_t before = posted + coming.size();
    while (posted < notices.size() && board_.notices(rank_, notices[posted].first).push(notices[posted].second)) ++posted;
    std::erase_if(coming, [&](Incoming& from) {
      if (!take_notices(ticket.exchange, from)) return false;
      Flag& moved = board_.moved(from.peer, rank_);
      add_once(ticket.moved, moved);
      memory_->fetch(from.peer, board_.ready(from.peer, rank_), ticket.exchange, from.copies, moved);
      return true;
    });
    if (posted + coming.size() == before) {
      still_well();
      std::this_thread::yield();
    }
  }
  return ticket;
}

std::vector<PeerCopies::Incoming> PeerCopies::incoming(std::span<const Receive> receives) const {
  std::vector<Incoming> coming;
  for (const Receive& message : receives) {
    if (message.tensor.numel() == 0) continue;
    auto from = std::ranges::find(coming, message.peer, &Incoming::peer);
    if (from == coming.end()) from = coming.insert(coming.end(), {.peer = message.peer, .copies = {}});
    from->copies.push_back({message.tensor.data_ptr(), {}, static_cast<std::int64_t>(message.tensor.nbytes())});
  }
  return coming;
}

bool PeerCopies::take_notices(std::uint32_t exchange, Incoming& from) const {
  NoticeRing& notices = board_.notices(from.peer, rank_);
  for (; from.known < from.copies.size(); ++from.known) {
    const Notice* const notice = notices.front();
    if (notice == nullptr) return false;
    PeerMemory::Copy& copy = from.copies[from.known];
    RT_CHECK(notice->exchange == exchange && notice->bytes == copy.bytes,
             "exchange {}, message {} from rank {} of the group: expected {} bytes, got {} of exchange {}", exchange, from.known,
             from.peer, copy.bytes, notice->bytes, notice->exchange);
    copy.from = notice->where;
    notices.pop();
  }
  return true;
}

void PeerCopies::wait(const Ticket& ticket) {
  if (!ticket.moved.empty()) memory_->wait(ticket.moved, ticket.exchange);
}

bool PeerCopies::has_ended(const Ticket& ticket) {
  return std::ranges::all_of(ticket.moved, [&](Flag* flag) { return reached(*flag, ticket.exchange); });
}

void PeerCopies::release() {
  released_ = true;
  // Beyond every exchange there can have been, and still later than all of them to a comparison with wrap-around.
  const std::uint32_t late = exchanges_ + (1U << 30U);
  for (int peer = 0; peer < board_.ranks(); ++peer) {
    for (Flag* flag : {&board_.ready(peer, rank_), &board_.moved(peer, rank_), &board_.moved(rank_, peer)}) {
      std::atomic_ref<Flag>(*flag).store(late, std::memory_order_release);
    }
  }
}

}  // namespace ringtron
