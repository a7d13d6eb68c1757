#include "ringtron/comm/peer_copy/peer_copies.h"

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
                                        const std::function<void()>& check_peers) {
  Ticket ticket{.exchange = ++exchanges_, .moved = {}};
  std::vector<Flag*> ready;
  std::vector<std::pair<int, PostedSend>> posted_sends;
  for (const Send& message : sends) {
    if (message.tensor.numel() == 0) continue;
    add_once(ready, board_.ready(rank_, message.peer));
    add_once(ticket.moved, board_.moved(rank_, message.peer));
    posted_sends.emplace_back(message.peer, PostedSend{.exchange = ticket.exchange,
                                                       .where = memory_->exported(message.tensor),
                                                       .bytes = static_cast<std::int64_t>(message.tensor.nbytes())});
  }
  std::vector<Incoming> coming = incoming(receives);
  if (posted_sends.empty() && coming.empty()) return ticket;
  memory_->mark(ready, ticket.exchange);

  // Posting and taking by turns: with many messages a ring is full until its reader, who posts as well, has read.
  std::size_t posted = 0;
  while (posted < posted_sends.size() || !coming.empty()) {
    const std::size_t before = posted + coming.size();
    while (posted < posted_sends.size() &&
           board_.posted_sends(rank_, posted_sends[posted].first).push(posted_sends[posted].second))
      ++posted;
    std::erase_if(coming, [&](Incoming& from) {
      if (!take_posted_sends(ticket.exchange, from)) return false;
      Flag& moved = board_.moved(from.peer, rank_);
      add_once(ticket.moved, moved);
      memory_->fetch(from.peer, board_.ready(from.peer, rank_), ticket.exchange, from.copies, moved);
      return true;
    });
    if (posted + coming.size() == before) {
      check_peers();
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

bool PeerCopies::take_posted_sends(std::uint32_t exchange, Incoming& from) const {
  PostedSendRing& posted_sends = board_.posted_sends(from.peer, rank_);
  for (; from.known < from.copies.size(); ++from.known) {
    const PostedSend* const posted_send = posted_sends.front();
    if (posted_send == nullptr) return false;
    PeerMemory::Copy& copy = from.copies[from.known];
    RT_CHECK(posted_send->exchange == exchange && posted_send->bytes == copy.bytes,
             "exchange {}, message {} from rank {} of the group: expected {} bytes, got {} of exchange {}", exchange,
             from.known, from.peer, copy.bytes, posted_send->bytes, posted_send->exchange);
    copy.from = posted_send->where;
    posted_sends.pop();
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
