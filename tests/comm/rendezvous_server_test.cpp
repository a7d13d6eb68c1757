// Who may talk to a run: ranks that prove its token and claim a free number; everybody else costs nothing and changes nothing.
#include "ringtron/comm/rendezvous/rendezvous_server.h"

#include <dirent.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <future>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/comm/rendezvous/rendezvous_client.h"

namespace ringtron {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

// Far above what anything here takes, far below a test's limit.
constexpr seconds kLong(60);

Claim claim(int rank, int world_size, std::string host = "node", std::string build = "b1") {
  return {.rank = rank, .world_size = world_size, .pid = 1000 + rank, .host = std::move(host), .build = std::move(build)};
}

std::unique_ptr<RendezvousServer> open(int world_size, milliseconds hello_time = kLong, int strangers = 64) {
  return std::make_unique<RendezvousServer>(listen_at("127.0.0.1", 0, true), RendezvousServerOptions{.own = claim(0, world_size, "node0"),
                                                                           .token = "secret",
                                                                           .hello_time = hello_time,
                                                                           .strangers = strangers});
}

std::unique_ptr<RendezvousClient> join(const RendezvousServer& server, Claim own, const std::string& token = "secret", milliseconds timeout = kLong) {
  return std::make_unique<RendezvousClient>(RendezvousAddress{"127.0.0.1", server.port(), token}, std::move(own), timeout);
}

Descriptor connect_once(const RendezvousServer& server) {
  std::string why;
  return connect_to("127.0.0.1", server.port(), kLong, why);
}

bool send_all(const Descriptor& socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count < 0 && errno == EAGAIN) {
      std::this_thread::sleep_for(milliseconds(1));
    } else if (count < 0) {
      return false;
    } else {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  return true;
}

// Reads until the other side ends the connection.
bool is_dropped(const Descriptor& socket) {
  const auto end = SteadyClock::now() + kLong;
  char buffer[4096];
  while (SteadyClock::now() < end) {
    const ssize_t count = ::recv(socket.get(), buffer, sizeof(buffer), 0);
    if (count == 0 || (count < 0 && errno != EAGAIN)) return true;
    if (count < 0) std::this_thread::sleep_for(milliseconds(1));
  }
  return false;
}

// A run of two ranks that have met.
struct Pair {
  explicit Pair(milliseconds hello_time = kLong, int strangers = 64) : server(open(2, hello_time, strangers)) {
    rank_0 = join(*server, claim(0, 2, "node0"));
    rank_1 = join(*server, claim(1, 2, "node1"));
    rank_0->wait_for_all();
    rank_1->wait_for_all();
  }
  // Both ends still serve, and a death is told.
  void expect_well() {
    rank_1->ask({.op = StoreRequest::Op::set, .keys = {"a"}, .values = {"b"}}, kLong);
    EXPECT_EQ(rank_0->ask({.op = StoreRequest::Op::get, .keys = {"a"}}, kLong).value, "b");
    EXPECT_TRUE(rank_0->liveness().losses(milliseconds(0)).empty());
    EXPECT_TRUE(rank_1->liveness().losses(milliseconds(0)).empty());
    rank_1->leave(true);
    const auto losses = rank_0->liveness().losses(kLong);
    EXPECT_EQ(describe(losses), "rank 1 stopped with an error (host node1, pid 1001)");
  }
  std::unique_ptr<RendezvousServer> server;
  std::unique_ptr<RendezvousClient> rank_0, rank_1;
};

TEST(RendezvousServer, RanksMeetAndShareKeys) {
  Pair run;
  EXPECT_EQ(run.rank_0->liveness().who(1), "rank 1 (host node1, pid 1001)");
  auto waits = std::async(std::launch::async, [&] { return run.rank_0->ask({.op = StoreRequest::Op::get, .keys = {"x", "y"}}, kLong).value; });
  run.rank_1->ask({.op = StoreRequest::Op::set, .keys = {"y"}, .values = {"2"}}, kLong);
  run.rank_1->ask({.op = StoreRequest::Op::set, .keys = {"x"}, .values = {"1"}}, kLong);
  EXPECT_EQ(waits.get(), "1");
  EXPECT_THROW(run.rank_0->ask({.op = StoreRequest::Op::get, .keys = {"never"}}, milliseconds(10)), CommError);
  run.expect_well();
}

TEST(RendezvousServer, WrongTokenIsRefusedAtOnce) {
  const auto server = open(2);
  EXPECT_THAT([&] { join(*server, claim(1, 2, "node7"), "other"); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("another run is using the port"), HasSubstr("host node0, pid 1000"),
                                               HasSubstr("rank 1 (host node7, pid 1001)"))));
  const auto rank_0 = join(*server, claim(0, 2, "node0"));
  const auto rank_1 = join(*server, claim(1, 2));  // the number is still free
  EXPECT_NO_THROW(rank_0->wait_for_all());
}

// Each contradiction ends the start of all that are there, and of the one that comes, also of one that cannot start because of it
// (a batch that another world size does not divide) and says so.
void expect_no_start(Claim second, const std::vector<std::string>& words) {
  for (const bool cannot : {false, true}) {
    const auto server = open(3);
    const auto rank_0 = join(*server, claim(0, 3, "node0")), rank_1 = join(*server, claim(1, 3, "node1"));
    std::string ended;
    if (cannot) {
      EXPECT_EQ(send_start_failure({"127.0.0.1", server->port(), "secret"}, second, "a fault", kLong), "");
    } else {
      for (const std::string& word : words) EXPECT_THAT([&] { join(*server, second); }, ThrowsMessage<ConfigError>(HasSubstr(word)));
    }
    try {
      rank_1->wait_for_all();
    } catch (const CommError& error) {
      ended = error.what();
    }
    for (const std::string& word : words) EXPECT_THAT(ended, HasSubstr(word));
  }
}

TEST(RendezvousServer, RankTwice) {
  expect_no_start(claim(1, 3, "node9"), {"both say that they are rank 1", "host node1, pid 1001", "host node9"});
}
// Another run at the port, whatever its size and binary: the one that waits there goes on waiting.
TEST(RendezvousServer, SecondRankZeroIsRefusedAloneWhileRanksAreAwaited) {
  const auto server = open(2);
  const auto rank_0 = join(*server, claim(0, 2, "node0"));
  ::testing::internal::CaptureStderr();
  EXPECT_THAT([&] { join(*server, claim(0, 2, "node9")); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("both say that they are rank 0"), HasSubstr("host node0"), HasSubstr("host node9"))));
  EXPECT_THAT([&] { join(*server, claim(0, 3, "node9")); }, ThrowsMessage<ConfigError>(HasSubstr("world size of 3")));
  EXPECT_THROW(join(*server, claim(0, 2, "node9", "b2")), ConfigError);
  const auto rank_1 = join(*server, claim(1, 2, "node1"));
  EXPECT_NO_THROW(rank_0->wait_for_all());
  EXPECT_NO_THROW(rank_1->wait_for_all());
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), AllOf(HasSubstr("host node9, pid 1000"), HasSubstr("is refused")));
}
// Not even before rank 0 has come over its own connection.
TEST(RendezvousServer, NobodyTakesThePlaceOfRankZero) {
  const auto server = open(2);
  EXPECT_THAT([&] { join(*server, claim(0, 2, "node9")); }, ThrowsMessage<ConfigError>(HasSubstr("both say that they are rank 0")));
  const auto rank_0 = join(*server, claim(0, 2, "node0")), rank_1 = join(*server, claim(1, 2, "node1"));
  EXPECT_NO_THROW(rank_0->wait_for_all());
}

TEST(RendezvousServer, LargerWorld) {
  expect_no_start(claim(2, 4, "node9"), {"rank 2 (host node9, pid 1002)", "world size of 4", "with 3"});
}
TEST(RendezvousServer, SmallerWorld) {
  expect_no_start(claim(1, 2, "node9"), {"host node9", "world size of 2", "with 3"});
}
TEST(RendezvousServer, RankOutsideOfItsWorld) {
  expect_no_start(claim(3, 3, "node9"), {"host node9", "start ranks 0 to 2"});
  expect_no_start(claim(-1, 3, "node9"), {"host node9", "start ranks 0 to 2"});
}
TEST(RendezvousServer, OtherBinary) {
  expect_no_start(claim(2, 3, "node9", "b2"), {"host node9", "another binary", "b1", "b2"});
}

TEST(RendezvousServer, LateSecondClaimIsRefusedAlone) {
  Pair run;
  EXPECT_THAT([&] { join(*run.server, claim(1, 2, "node9")); },
              ThrowsMessage<ConfigError>(AllOf(HasSubstr("both say that they are rank 1"), HasSubstr("node1"), HasSubstr("node9"))));
  EXPECT_THROW(join(*run.server, claim(2, 3)), ConfigError);
  run.expect_well();
}

TEST(RendezvousServer, DeathDuringTheStartIsToldAtOnce) {
  const auto server = open(3);
  const auto rank_0 = join(*server, claim(0, 3, "node0"));
  auto rank_1 = join(*server, claim(1, 3, "node1"));
  auto waits = std::async(std::launch::async, [&] { rank_0->wait_for_all(); });
  rank_1->leave(true);
  EXPECT_THAT([&] { waits.get(); }, ThrowsMessage<CommError>(HasSubstr("rank 1 stopped with an error (host node1, pid 1001)")));
}

TEST(RendezvousServer, DeathEndsWaitsForKeys) {
  Pair run;
  auto waits = std::async(std::launch::async, [&] { run.rank_0->ask({.op = StoreRequest::Op::get, .keys = {"never"}}, kLong); });
  run.rank_1->leave(true);
  EXPECT_THAT([&] { waits.get(); }, ThrowsMessage<CommError>(HasSubstr("a rank was lost")));
}

TEST(RendezvousServer, EndOfRankZeroIsToldAtOnce) {
  Pair run;
  run.server->stop(true);
  EXPECT_EQ(describe(run.rank_1->liveness().losses(kLong)), "rank 0 stopped with an error (host node0, pid 1000)");
}

TEST(RendezvousServer, MissingRanksAreNamedOnAllRanks) {
  const auto server = open(4);
  const auto rank_0 = join(*server, claim(0, 4, "node0"));
  const auto rank_2 = join(*server, claim(2, 4), "secret", seconds(3));
  EXPECT_THAT([&] { rank_2->wait_for_all(); }, ThrowsMessage<CommError>(HasSubstr("rank(s) 1, 3 never came to rank 0 (host node0")));
  EXPECT_THAT([&] { rank_0->wait_for_all(); }, ThrowsMessage<CommError>(HasSubstr("rank(s) 1, 3 never came")));
}

TEST(RendezvousServer, RankZeroThatNeverComes) {
  const Listeners nobody = listen_at("127.0.0.1", 0, true);  // takes connections into its queue, and says nothing
  EXPECT_THAT([&] { RendezvousClient({"127.0.0.1", nobody.port, ""}, claim(1, 2), milliseconds(300)); },
              ThrowsMessage<CommError>(AllOf(HasSubstr("within 0.3 s, it did not come"), HasSubstr("says nothing"))));
}

TEST(RendezvousServer, PortInUse) {
  const auto server = open(2);
  EXPECT_TRUE(listen_at("127.0.0.1", server->port(), true).port_in_use);
}

TEST(RendezvousServer, SilentStrangersAreDropped) {
  Pair run(milliseconds(50));
  const Descriptor silent = connect_once(*run.server), one_byte = connect_once(*run.server);
  send_all(one_byte, "x");
  EXPECT_TRUE(is_dropped(silent));
  EXPECT_TRUE(is_dropped(one_byte));
  run.expect_well();
}

TEST(RendezvousServer, MoreStrangersThanAllowedPushTheOldestOut) {
  const auto server = open(2, kLong, 4);
  std::vector<Descriptor> strangers;
  for (int i = 0; i < 12; ++i) strangers.push_back(connect_once(*server));
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(is_dropped(strangers[static_cast<std::size_t>(i)]));
  const auto rank_0 = join(*server, claim(0, 2, "node0")), rank_1 = join(*server, claim(1, 2));
  EXPECT_NO_THROW(rank_1->wait_for_all());
}

// A hello that was listened to is of no use to who repeats it: the server's nonce is another.
TEST(RendezvousServer, ReplayedHelloIsRefused) {
  const auto server = open(2);
  const auto relay = listen_at("127.0.0.1", 0, true);
  auto victim = std::async(std::launch::async, [&] { RendezvousClient({"127.0.0.1", relay.port, "secret"}, claim(1, 2), kLong); });
  // The relay shows the victim the server's challenge and keeps the answer.
  const auto next_bytes = [](const Descriptor& from) {
    std::string bytes(4096, '\0');
    ssize_t count;
    while ((count = ::recv(from.get(), bytes.data(), bytes.size(), 0)) < 0 && errno == EAGAIN) std::this_thread::sleep_for(milliseconds(1));
    bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    return bytes;
  };
  const Descriptor first = connect_once(*server);
  int fd;
  while ((fd = ::accept4(relay.sockets[0].get(), nullptr, nullptr, SOCK_NONBLOCK)) < 0) std::this_thread::sleep_for(milliseconds(1));
  const Descriptor to_victim(fd);
  send_all(to_victim, next_bytes(first));
  const std::string hello = next_bytes(to_victim);
  EXPECT_GT(hello.size(), 50u);
  const Descriptor second = connect_once(*server);
  next_bytes(second);
  send_all(second, hello);
  EXPECT_THAT(next_bytes(second), HasSubstr("another run is using the port"));
  send_all(to_victim, std::string(8, '\xff'));
  EXPECT_THAT([&] { victim.get(); }, ThrowsMessage<ConfigError>(HasSubstr("another program is using the port")));
}

int open_descriptors() {
  int count = 0;
  DIR* folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

// RINGTRON_FUZZ: how many times as much as in CI; with 1000, streams are of 100 MB.
TEST(RendezvousServer, FuzzChangesNothing) {
  const char* given = std::getenv("RINGTRON_FUZZ");
  const int scale = given == nullptr ? 1 : std::max(1, std::atoi(given));
  Pair run(seconds(5));
  const int before = open_descriptors();
  std::mt19937 random(1);
  const auto noise = [&](std::size_t count) {
    std::string bytes(count, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
  };
  const Claim own = claim(1, 2, "node1");
  const auto hello = [&](const std::string& proof) {
    return wire::frame(wire::Kind::hello, wire::Packer().text(wire::kMagic).text(noise(16)).claim(own).text(proof).take());
  };
  const std::string loss = wire::frame(wire::Kind::loss, wire::Packer().number(1).number(false).text("nowhere").take());
  for (int round = 0; round < 8 * scale; ++round) {
    const Descriptor stranger = connect_once(*run.server);
    if (!stranger.valid()) continue;  // more than the server takes at a time
    switch (round % 8) {
      case 0: send_all(stranger, noise(random() % 5000)); break;
      case 1: send_all(stranger, wire::Packer().number(std::uint32_t{0xffffffff}).take() + std::string(1000, 'x')); break;
      case 2: send_all(stranger, hello(noise(32))); break;
      case 3: send_all(stranger, hello("")); break;
      case 4: send_all(stranger, loss); break;
      case 5: send_all(stranger, wire::frame(wire::Kind::failed)); break;
      case 6: send_all(stranger, hello(noise(32)).substr(0, random() % 60)); break;  // ends half way
      case 7:
        for (int part = 0; part < 100 * scale && send_all(stranger, noise(1000)); ++part) {
        }
        break;
    }
  }
  run.expect_well();
  const auto end = SteadyClock::now() + kLong;  // the last ones may still be in the queue
  while (open_descriptors() > before && SteadyClock::now() < end) std::this_thread::sleep_for(milliseconds(10));
  EXPECT_LE(open_descriptors(), before);
}

// A rank with a wrong command line never joins; nobody waits for it.
TEST(RendezvousServer, ARankThatCannotStartEndsTheStartForAll) {
  const auto server = open(3);
  const RendezvousAddress address{"127.0.0.1", server->port(), "secret"};
  const auto rank_0 = join(*server, claim(0, 3, "node0"));
  EXPECT_EQ(send_start_failure(address, claim(1, 3, "node1"), "--num-layers -1", kLong), "") << "the first to say it";
  EXPECT_THAT([&] { rank_0->wait_for_all(); },
              ThrowsMessage<CommError>(HasSubstr("rank 1 (host node1, pid 1001) ended before the ranks had met: --num-layers -1")));
  EXPECT_EQ(send_start_failure(address, claim(2, 3), "--num-layers -1", kLong), "--num-layers -1") << "it need not say it again";
  EXPECT_THAT([&] { join(*server, claim(2, 3)); }, ThrowsMessage<CommError>(HasSubstr("--num-layers -1")));
}

TEST(RendezvousServer, RankZeroThatCannotStartTellsAllWhoCome) {
  RendezvousServer server(listen_at("127.0.0.1", 0, true), {.own = claim(0, 3, "node0"), .token = "secret", .cannot = "--num-layers -1"});
  EXPECT_FALSE(server.wait_until_heard(milliseconds(1)));
  auto heard = std::async(std::launch::async, [&] { return server.wait_until_heard(kLong); });
  EXPECT_EQ(send_start_failure({"127.0.0.1", server.port(), "secret"}, claim(1, 3), "--num-layers -1", kLong), "--num-layers -1");
  EXPECT_THAT([&] { join(server, claim(2, 3)); },
              ThrowsMessage<CommError>(HasSubstr("rank 0 (host node0, pid 1000) ended before the ranks had met: --num-layers -1")));
  EXPECT_TRUE(heard.get());
}

// Who does not belong to the run ends nothing in it.
TEST(RendezvousServer, AnotherRunsEndIsNotOurs) {
  Pair run;
  const RendezvousAddress address{"127.0.0.1", run.server->port(), "secret"};
  EXPECT_EQ(send_start_failure(address, claim(1, 2), "a fault", kLong), "") << "all have come";
  run.expect_well();
  const auto server = open(2);
  const auto rank_0 = join(*server, claim(0, 2, "node0"));
  EXPECT_EQ(send_start_failure({"127.0.0.1", server->port(), "other"}, claim(1, 2), "a fault", kLong), "") << "another run";
  EXPECT_EQ(send_start_failure({"127.0.0.1", server->port(), "secret"}, claim(0, 2, "node9"), "a fault", kLong), "") << "another rank 0";
  const auto rank_1 = join(*server, claim(1, 2));
  EXPECT_NO_THROW(rank_0->wait_for_all());
  EXPECT_EQ(send_start_failure({"127.0.0.1", 1, ""}, claim(1, 2), "a fault", milliseconds(50)), std::nullopt) << "nobody is there";
}

// A rank of the run that sends what no rank sends is a loss; the server goes on.
TEST(RendezvousServer, MalformedRequestIsALoss) {
  const auto server = open(2);
  const auto rank_0 = join(*server, claim(0, 2, "node0"));
  const Descriptor socket = connect_once(*server);
  wire::FrameReader reader(wire::kLargestFrame);
  const auto next = [&] {
    for (;;) {
      if (auto frame = reader.next()) return *frame;
      char buffer[4096];
      const ssize_t count = ::recv(socket.get(), buffer, sizeof(buffer), 0);
      if (count > 0) reader.feed({buffer, static_cast<std::size_t>(count)});
    }
  };
  wire::Frame challenge = next();
  wire::Unpacker in(challenge.body);
  in.text();
  const Claim own = claim(1, 2, "node1");
  const std::string nonce(16, 'n');
  const std::string proof = wire::rank_proof("secret", in.text(), nonce, own);
  send_all(socket, wire::frame(wire::Kind::hello, wire::Packer().text(wire::kMagic).text(nonce).claim(own).text(proof).take()));
  EXPECT_EQ(next().kind, wire::Kind::welcome);
  send_all(socket, wire::frame(wire::Kind::request, "nonsense"));
  EXPECT_EQ(describe(rank_0->liveness().losses(kLong)), "rank 1 died (host node1, pid 1001)");
  EXPECT_TRUE(is_dropped(socket));
}

}  // namespace
}  // namespace ringtron
