// Tests whose body runs on several ranks, each a process of its own.
//
//   DIST_TEST(Ring, PassesTheToken, 1, 2, 4) {          // once with 1, once with 2, once with 4 ranks
//     Communicator& comm = ranks.world();               // all ranks, over Gloo
//     at::Tensor x = at::full({3}, ranks.rank());
//     comm.all_reduce(x).wait();
//     EXPECT_EQ(x[0].item<float>(), ranks.size() * (ranks.size() - 1) / 2);
//   }
//
// The body is an ordinary function; EXPECT_ and ASSERT_ work on every rank. GoogleTest shows one test per
// number of ranks: Ring.PassesTheToken/4. It fails when any rank fails an assertion, throws, dies, makes no
// assertion at all, or is not done after 120 s; its message holds each rank's failures and output. On the
// first failure all ranks are ended. The ranks are the test program run again, with one ATen thread each.
// They are kept for the next test, which then starts in milliseconds instead of seconds; after a test that
// failed or killed a rank, new ones are started. RINGTRON_TEST_VERBOSE=1 shows the ranks' output of passing
// tests too. A rank that is meant to die says so first: ranks.announce_death().
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <initializer_list>
#include <memory>
#include <string>

#include "ringtron/comm/communicator.h"
#include "ringtron/comm/rendezvous/rendezvous.h"

namespace ringtron::testing {

// What a body sees of its rank, named `ranks` in it. Lives for one test.
class RankContext {
 public:
  explicit RankContext(RendezvousOptions options);
  ~RankContext();

  int rank() const { return options_.rank; }
  int size() const { return options_.world_size; }

  // Connects on first use and returns when all ranks are connected: all must use it, or none. Change the
  // options before.
  RendezvousOptions& options() { return options_; }
  const Rendezvous& rendezvous();
  Communicator& world();

  // Returns when all ranks have called it as often. Goes through the parent's store, so that no rank is still
  // inside an operation of a communicator when another goes on to die: without it the survivors may see the
  // death one operation early, or while they connect.
  void meet();

  // From here on the death of this rank's process is no failure.
  void announce_death();

 private:
  RendezvousOptions options_;
  std::unique_ptr<Rendezvous> rendezvous_;
  std::unique_ptr<Communicator> world_;
  int meetings_ = 0;
};

using DistBody = void (*)(RankContext& ranks);

struct DistTest {
  const char* suite;
  const char* name;
  const char* file;
  int line;
  DistBody body;
};

// Called by DIST_TEST before main().
bool register_dist_test(const DistTest& test, std::initializer_list<int> rank_counts);

// Counts the assertions a rank makes; always 0.
int count_assertion();

}  // namespace ringtron::testing

#define DIST_TEST(suite, name, ...)                                                                        \
  static void dist_body_##suite##_##name(::ringtron::testing::RankContext& ranks);                         \
  [[maybe_unused]] static const bool dist_test_##suite##_##name = ::ringtron::testing::register_dist_test( \
      {#suite, #name, __FILE__, __LINE__, dist_body_##suite##_##name}, {__VA_ARGS__});                     \
  static void dist_body_##suite##_##name([[maybe_unused]] ::ringtron::testing::RankContext& ranks)

// GoogleTest does not count assertions that hold. Each of its assertion macros begins with this one.
#undef GTEST_AMBIGUOUS_ELSE_BLOCKER_
#define GTEST_AMBIGUOUS_ELSE_BLOCKER_             \
  switch (::ringtron::testing::count_assertion()) \
  case 0:                                         \
  default:
