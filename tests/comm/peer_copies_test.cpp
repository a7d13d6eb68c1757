// Messages as copies, between threads that stand for ranks: a device that does at once what its stream is given.
#include "ringtron/comm/peer_copy/peer_copies.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <stdexcept>
#include <thread>

#include "ringtron/base/error.h"

namespace ringtron {
namespace {

struct GaveUp : std::runtime_error {
  GaveUp() : std::runtime_error("gave up") {}
};

// All ranks are threads of this process, so that a pointer is a handle.
class ThreadMemory final : public PeerMemory {
 public:
  PeerPointer exported(const at::Tensor& tensor) override {
    PeerPointer pointer;
    const void* begin = tensor.storage().data();
    std::memcpy(pointer.handle.data(), &begin, sizeof begin);
    pointer.handle_bytes = sizeof begin;
    pointer.offset = static_cast<const char*>(tensor.data_ptr()) - static_cast<const char*>(begin);
    return pointer;
  }
  void mark(std::span<Flag* const> flags, std::uint32_t value) override {
    for (Flag* flag : flags) write(*flag, value);
  }
  void wait(std::span<Flag* const> flags, std::uint32_t value) override {
    for (Flag* flag : flags) wait_for(*flag, value);
  }
  void fetch(int, const Flag& ready, std::uint32_t value, std::span<const Copy> copies, Flag& moved) override {
    wait_for(ready, value);
    for (const Copy& copy : copies) {
      const char* begin = nullptr;
      std::memcpy(&begin, copy.from.handle.data(), sizeof begin);
      std::memcpy(copy.to, begin + copy.from.offset, static_cast<std::size_t>(copy.bytes));
    }
    write(moved, value);
  }
  void finish() override {}

 private:
  static void write(Flag& flag, std::uint32_t value) {
    std::atomic_ref<Flag>(flag).store(value, std::memory_order_release);
  }
  static void wait_for(const Flag& flag, std::uint32_t value) {
    while (!reached(flag, value)) std::this_thread::yield();
  }
};

class Ranks {
 public:
  explicit Ranks(int ranks) : memory_(SignalPad::bytes_for(ranks)), board_(memory_.data(), ranks) {
    for (int rank = 0; rank < ranks; ++rank) {
      copies_.push_back(std::make_unique<PeerCopies>(board_, rank, std::make_unique<ThreadMemory>()));
    }
  }

  PeerCopies& of(int rank) { return *copies_[static_cast<std::size_t>(rank)]; }

  template <class Body>
  void run(Body body) {
    std::vector<std::thread> threads;
    for (int rank = 0; rank < board_.ranks(); ++rank) threads.emplace_back([&, rank] { body(rank, of(rank)); });
    for (std::thread& thread : threads) thread.join();
  }

 private:
  struct alignas(64) Line {
    std::byte bytes[64] = {};
  };
  class Memory {
   public:
    explicit Memory(std::size_t bytes) : lines_(bytes / sizeof(Line) + 1) {}
    std::byte* data() { return lines_.data()->bytes; }

   private:
    std::vector<Line> lines_;
  };

  Memory memory_;
  SignalPad board_;
  std::vector<std::unique_ptr<PeerCopies>> copies_;
};

void go_on() {}

// What `from` sends `to` in this exchange as its message `number`; of no elements now and then.
at::Tensor message(int from, int to, int exchange, int number) {
  const int length = (from * 7 + to * 5 + exchange * 3 + number * 2) % 11;
  return at::arange(length, at::kLong) + 1000 * from + 100'000 * to + 10'000'000 * exchange + 17 * number;
}

// Each rank to each other rank, `messages` of them; then compares what came.
void exchange_all(PeerCopies& copies, int rank, int ranks, int exchange, int messages) {
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (int peer = 0; peer < ranks; ++peer) {
    if (peer == rank) continue;
    for (int number = 0; number < messages; ++number) {
      sends.push_back({peer, message(rank, peer, exchange, number)});
      receives.push_back({peer, at::full_like(message(peer, rank, exchange, number), -1)});
    }
  }
  const PeerCopies::Ticket ticket = copies.exchange(sends, receives, go_on);
  copies.wait(ticket);
  EXPECT_TRUE(PeerCopies::has_ended(ticket));
  for (std::size_t i = 0; i < receives.size(); ++i) {
    const int number = static_cast<int>(i) % messages;
    ASSERT_TRUE(at::equal(receives[i].tensor, message(receives[i].peer, rank, exchange, number)))
        << "message " << number << " from " << receives[i].peer << " to " << rank << " in exchange " << exchange;
  }
}

TEST(PeerCopies, EveryMessageComesOnceAndInOrder) {
  for (const int ranks : {2, 3, 5}) {
    Ranks group(ranks);
    group.run([&](int rank, PeerCopies& copies) {
      for (int exchange = 0; exchange < 50; ++exchange) exchange_all(copies, rank, ranks, exchange, 1 + exchange % 4);
    });
  }
}

TEST(PeerCopies, MoreMessagesThanARingHoldsGoBothWays) {
  constexpr int kMessages = 5 * static_cast<int>(PostedSendRing::kCapacity) + 3;
  Ranks group(3);
  group.run([&](int rank, PeerCopies& copies) {
    for (int exchange = 0; exchange < 3; ++exchange) exchange_all(copies, rank, 3, exchange, kMessages);
  });
}

TEST(PeerCopies, ARankWithoutMessagesGoesOn) {
  Ranks group(3);
  group.run([&](int rank, PeerCopies& copies) {
    at::Tensor x = at::full({4}, rank);
    for (int exchange = 0; exchange < 20; ++exchange) {
      std::vector<Send> sends;
      std::vector<Receive> receives;
      const int from = exchange % 3, to = (exchange + 1) % 3;
      at::Tensor room = at::full({4}, -1);
      if (rank == from) sends.push_back({to, x});
      if (rank == to) receives.push_back({from, room});
      const PeerCopies::Ticket ticket = copies.exchange(sends, receives, go_on);
      copies.wait(ticket);
      if (rank == to) {
        EXPECT_TRUE(at::equal(room, at::full({4}, from)));
      } else {
        EXPECT_TRUE(at::equal(room, at::full({4}, -1)));
      }
    }
  });
}

TEST(PeerCopies, PartsOfTensorsTravelAlone) {
  Ranks group(2);
  group.run([](int rank, PeerCopies& copies) {
    const at::Tensor whole = at::arange(100, at::kLong) + 1000 * rank;
    const at::Tensor rooms = at::zeros({100}, at::kLong);
    const Send sends[] = {{1 - rank, whole.narrow(0, 30, 20)}};
    const Receive receives[] = {{1 - rank, rooms.narrow(0, 70, 20)}};
    copies.wait(copies.exchange(sends, receives, go_on));
    EXPECT_TRUE(at::equal(rooms.narrow(0, 70, 20), at::arange(30, 50, at::kLong) + 1000 * (1 - rank)));
    EXPECT_EQ(rooms.narrow(0, 0, 70).sum().item<std::int64_t>() + rooms.narrow(0, 90, 10).sum().item<std::int64_t>(),
              0);
  });
}

TEST(PeerCopies, AMessageOfAnotherLengthIsNamed) {
  Ranks group(2);
  std::string said;
  group.run([&](int rank, PeerCopies& copies) {
    const at::Tensor x = at::zeros({rank == 0 ? 4 : 5}, at::kByte), room = at::zeros({5}, at::kByte);
    const Send sends[] = {{1 - rank, x}};
    const Receive receives[] = {{1 - rank, room}};
    try {
      copies.exchange(sends, receives, go_on);
    } catch (const InternalError& error) {
      EXPECT_EQ(rank, 1);
      said = error.what();
      copies.release();
    }
  });
  EXPECT_NE(said.find("message 0 from rank 0 of the group: expected 5 bytes, got 4"), std::string::npos) << said;
}

TEST(PeerCopies, WhoWaitsForAPeerThatNeverComesIsAskedWhetherToGoOn) {
  Ranks group(2);
  const at::Tensor x = at::zeros({4});
  const Receive receives[] = {{1, x}};
  int asked = 0;
  EXPECT_THROW(group.of(0).exchange({}, receives,
                                    [&] {
                                      if (++asked == 3) throw GaveUp();
                                    }),
               GaveUp);
  EXPECT_EQ(asked, 3);
}

// The peer has posted its message and died before its stream came to it: the copy would wait for ever.
TEST(PeerCopies, ReleaseEndsWhatStreamsWaitFor) {
  Ranks group(2);
  const at::Tensor x = at::zeros({4});
  const Send sends[] = {{1, x}};
  const PeerCopies::Ticket ticket = group.of(0).exchange(sends, {}, go_on);
  EXPECT_FALSE(PeerCopies::has_ended(ticket)) << "rank 1 has not fetched it";
  std::thread waits([&] { group.of(0).wait(ticket); });
  group.of(0).release();
  waits.join();
  EXPECT_TRUE(PeerCopies::has_ended(ticket));
}

TEST(PeerCopies, ExchangesAreCountedAroundTheEndOfNumbers) {
  Flag flag = 0xFFFFFFF0U;
  EXPECT_TRUE(reached(flag, 0xFFFFFFF0U));
  EXPECT_FALSE(reached(flag, 0xFFFFFFF1U));
  EXPECT_FALSE(reached(flag, 5));  // twenty-one later
  flag = 5;
  EXPECT_TRUE(reached(flag, 0xFFFFFFF1U));
}

}  // namespace
}  // namespace ringtron
