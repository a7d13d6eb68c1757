// Sockets listen where they are told to, and let nobody in any more once they are shut.
#include "ringtron/comm/rendezvous/socket.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

namespace ringtron {
namespace {

using std::chrono::milliseconds;

TEST(Socket, FindsOnlyThoseThatListen) {
  const std::set<int> before = listening_sockets();
  const Listeners own = listen_at("127.0.0.1", 0, true);
  std::string why;
  const Descriptor client = connect_to("127.0.0.1", own.port, milliseconds(5000), why);
  std::set<int> expected = before;
  expected.insert(own.sockets[0].get());
  EXPECT_EQ(listening_sockets(), expected);
}

TEST(Socket, ShutsOutWhoComesLater) {
  const Listeners own = listen_at("127.0.0.1", 0, true);
  std::string why;
  const Descriptor early = connect_to("127.0.0.1", own.port, milliseconds(5000), why);
  const Descriptor server(::accept(own.sockets[0].get(), nullptr, nullptr));
  ASSERT_TRUE(server.valid());
  drop_new_connections(own.sockets[0].get());
  EXPECT_FALSE(connect_to("127.0.0.1", own.port, milliseconds(100), why).valid());
  ASSERT_EQ(::send(early.get(), "x", 1, 0), 1);
  char byte = 0;
  EXPECT_EQ(::recv(server.get(), &byte, 1, MSG_WAITALL), 1);
  EXPECT_EQ(byte, 'x');
}

TEST(Socket, ListensAtTheAddressGiven) {
  std::string why;
  const Listeners loopback = listen_at("127.0.0.1", 0, true);
  EXPECT_EQ(loopback.sockets.size(), 1u);
  EXPECT_FALSE(
      connect_to("127.0.0.2", loopback.port, milliseconds(5000), why).valid());  // another address of this machine
  const Listeners several_machines = listen_at("127.0.0.1", 0, false);
  EXPECT_TRUE(connect_to("127.0.0.2", several_machines.port, milliseconds(5000), why).valid());
  const Listeners nobodys = listen_at("192.0.2.1", 0, true);  // reserved for documentation: no machine has it
  EXPECT_TRUE(connect_to("127.0.0.1", nobodys.port, milliseconds(5000), why).valid());
}

TEST(Socket, EndpointText) {
  EXPECT_EQ(endpoint_text("node0", 29500), "node0:29500");
  EXPECT_EQ(endpoint_text("::1", 29500), "[::1]:29500");
}

}  // namespace
}  // namespace ringtron
