#include "ringtron/comm/run_store.h"

namespace ringtron {
namespace {

using Op = StoreRequest::Op;

std::string text_of(const RunStore::Bytes& bytes) {
  return {bytes.begin(), bytes.end()};
}

RunStore::Bytes bytes_of(const StoreReply& reply) {
  return {reply.value.begin(), reply.value.end()};
}

}  // namespace

void RunStore::set(const std::string& key, const Bytes& value) {
  ask({.op = Op::set, .keys = {key}, .values = {text_of(value)}});
}

RunStore::Bytes RunStore::compareSet(const std::string& key, const Bytes& expected, const Bytes& desired) {
  return bytes_of(ask({.op = Op::compare_set, .keys = {key}, .values = {text_of(expected), text_of(desired)}}));
}

RunStore::Bytes RunStore::get(const std::string& key) {
  return bytes_of(ask({.op = Op::get, .keys = {key}}));
}

std::int64_t RunStore::add(const std::string& key, std::int64_t value) {
  return ask({.op = Op::add, .number = value, .keys = {key}}).number;
}

bool RunStore::deleteKey(const std::string& key) {
  return ask({.op = Op::erase, .keys = {key}}).number != 0;
}

bool RunStore::check(const std::vector<std::string>& keys) {
  return keys.empty() || ask({.op = Op::check, .keys = keys}).number != 0;
}

std::int64_t RunStore::getNumKeys() {
  return ask({.op = Op::count}).number;
}

void RunStore::wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) {
  if (!keys.empty()) link_->ask({.op = Op::get, .keys = keys}, timeout);
}

}  // namespace ringtron
