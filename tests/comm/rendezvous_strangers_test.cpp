// Strangers at a run's port cost nothing and change nothing: silent ones, too many, replayed hellos, random bytes.
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
#include "tests/comm/rendezvous_run.h"

namespace ringtron {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

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
  auto victim = std::async(std::launch::async,
                           [&] { RendezvousClient({"127.0.0.1", relay.port, "secret"}, claim(1, 2), kLong); });
  // The relay shows the victim the server's challenge and keeps the answer.
  const auto next_bytes = [](const Descriptor& from) {
    std::string bytes(4096, '\0');
    ssize_t count;
    while ((count = ::recv(from.get(), bytes.data(), bytes.size(), 0)) < 0 && errno == EAGAIN)
      std::this_thread::sleep_for(milliseconds(1));
    bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    return bytes;
  };
  const Descriptor first = connect_once(*server);
  int fd;
  while ((fd = ::accept4(relay.sockets[0].get(), nullptr, nullptr, SOCK_NONBLOCK)) < 0)
    std::this_thread::sleep_for(milliseconds(1));
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
    return wire::frame(wire::Kind::hello,
                       wire::Packer().text(wire::kMagic).text(noise(16)).claim(own).text(proof).take());
  };
  const std::string loss = wire::frame(wire::Kind::loss, wire::Packer().number(1).number(false).text("nowhere").take());
  for (int round = 0; round < 8 * scale; ++round) {
    const Descriptor stranger = connect_once(*run.server);
    if (!stranger.valid()) continue;  // more than the server takes at a time
    switch (round % 8) {
      case 0:
        send_all(stranger, noise(random() % 5000));
        break;
      case 1:
        send_all(stranger, wire::Packer().number(std::uint32_t{0xffffffff}).take() + std::string(1000, 'x'));
        break;
      case 2:
        send_all(stranger, hello(noise(32)));
        break;
      case 3:
        send_all(stranger, hello(""));
        break;
      case 4:
        send_all(stranger, loss);
        break;
      case 5:
        send_all(stranger, wire::frame(wire::Kind::failed));
        break;
      case 6:
        send_all(stranger, hello(noise(32)).substr(0, random() % 60));
        break;  // ends half way
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
  send_all(socket,
           wire::frame(wire::Kind::hello, wire::Packer().text(wire::kMagic).text(nonce).claim(own).text(proof).take()));
  EXPECT_EQ(next().kind, wire::Kind::welcome);
  send_all(socket, wire::frame(wire::Kind::request, "nonsense"));
  EXPECT_EQ(describe(rank_0->liveness().losses(kLong)), "rank 1 died (host node1, pid 1001)");
  EXPECT_TRUE(is_dropped(socket));
}

}  // namespace
}  // namespace ringtron
