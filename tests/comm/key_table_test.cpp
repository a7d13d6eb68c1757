// The store's rules, and bytes that are no request.
#include "ringtron/comm/rendezvous/key_table.h"

#include <gtest/gtest.h>

#include "ringtron/comm/rendezvous/wire.h"

namespace ringtron {
namespace {

using Op = StoreRequest::Op;

StoreReply only_reply(KeyTable& table, StoreRequest request) {
  const auto due = table.handle(0, request);
  EXPECT_EQ(due.size(), 1u);
  return due.empty() ? StoreReply{} : due[0].second;
}

TEST(KeyTable, SetGetAddEraseCount) {
  KeyTable table;
  only_reply(table, {.op = Op::set, .keys = {"a"}, .values = {std::string("\0x", 2)}});
  EXPECT_EQ(only_reply(table, {.op = Op::get, .keys = {"a"}}).value, std::string("\0x", 2));
  EXPECT_EQ(only_reply(table, {.op = Op::add, .number = 5, .keys = {"n"}}).number, 5);
  EXPECT_EQ(only_reply(table, {.op = Op::add, .number = -7, .keys = {"n"}}).number, -2);
  EXPECT_EQ(only_reply(table, {.op = Op::get, .keys = {"n"}}).value, "-2");
  EXPECT_EQ(only_reply(table, {.op = Op::count}).number, 2);
  EXPECT_EQ(only_reply(table, {.op = Op::check, .keys = {"a", "n"}}).number, 1);
  EXPECT_EQ(only_reply(table, {.op = Op::check, .keys = {"a", "x"}}).number, 0);
  EXPECT_EQ(only_reply(table, {.op = Op::erase, .keys = {"a"}}).number, 1);
  EXPECT_EQ(only_reply(table, {.op = Op::erase, .keys = {"a"}}).number, 0);
}

TEST(KeyTable, CompareSetAsC10d) {
  KeyTable table;
  EXPECT_EQ(only_reply(table, {.op = Op::compare_set, .keys = {"k"}, .values = {"x", "y"}}).value, "x");
  EXPECT_EQ(only_reply(table, {.op = Op::compare_set, .keys = {"k"}, .values = {"", "first"}}).value, "first");
  EXPECT_EQ(only_reply(table, {.op = Op::compare_set, .keys = {"k"}, .values = {"", "second"}}).value, "first");
  EXPECT_EQ(only_reply(table, {.op = Op::compare_set, .keys = {"k"}, .values = {"first", "second"}}).value, "second");
}

TEST(KeyTable, WaitsUntilAllKeysAreThere) {
  KeyTable table;
  EXPECT_TRUE(table.handle(1, {.id = 4, .op = Op::get, .keys = {"a", "b"}}).empty());
  EXPECT_TRUE(table.handle(2, {.id = 5, .op = Op::get, .keys = {"b"}}).empty());
  EXPECT_TRUE(table.handle(3, {.id = 6, .op = Op::get, .keys = {"b"}}).empty());
  EXPECT_TRUE(table.handle(4, {.id = 7, .op = Op::get, .keys = {"b"}}).empty());
  table.forget(3);
  EXPECT_TRUE(table.handle(4, {.id = 7, .op = Op::cancel}).empty());
  EXPECT_EQ(table.handle(0, {.op = Op::set, .keys = {"a"}, .values = {"1"}}).size(), 1u);
  const auto due = table.handle(0, {.op = Op::set, .keys = {"b"}, .values = {"2"}});
  ASSERT_EQ(due.size(), 3u);
  EXPECT_EQ(due[1].first, 1);
  EXPECT_EQ(due[1].second.id, 4u);
  EXPECT_EQ(due[1].second.value, "1");
  EXPECT_EQ(due[2].first, 2);
}

TEST(KeyTable, BytesAreCheckedWhole) {
  const std::string good =
      StoreRequest{.id = 9, .op = Op::compare_set, .number = 3, .keys = {"key"}, .values = {"a", "b"}}.bytes();
  EXPECT_EQ(StoreRequest::from(good).keys[0], "key");
  for (std::size_t length = 0; length < good.size(); ++length)
    EXPECT_THROW(StoreRequest::from(good.substr(0, length)), wire::Malformed);
  EXPECT_THROW(StoreRequest::from(good + "x"), wire::Malformed);
  EXPECT_THROW(StoreRequest::from(StoreRequest{.op = Op::set, .keys = {"k"}}.bytes()), wire::Malformed);
  EXPECT_THROW(StoreRequest::from(StoreRequest{.op = Op::get}.bytes()), wire::Malformed);
  EXPECT_THROW(StoreRequest::from(StoreRequest{.op = static_cast<Op>(99), .keys = {"k"}}.bytes()), wire::Malformed);
  const std::string many =
      wire::Packer().number(std::uint32_t{1}).number(Op::get).number(std::int64_t{0}).number(0xffffffffu).take();
  EXPECT_THROW(StoreRequest::from(many), wire::Malformed);
}

}  // namespace
}  // namespace ringtron
