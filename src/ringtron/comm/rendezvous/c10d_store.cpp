#include "ringtron/comm/rendezvous/c10d_store.h"

namespace ringtron {
namespace {

using Op = StoreRequest::Op;

std::string text_of(const C10dStore::Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

C10dStore::Bytes bytes_of(const StoreReply& reply) { return {reply.value.begin(), reply.value.end()}; }

}  // namespace

void C10dStore::set(const std::string& key, const Bytes& value) {
  ask({.op = Op::set, .keys = {key}, .values = {text_of(value)}});
}

C10dStore::Bytes C10dStore::compareSet(const std::string& key, const Bytes& expected, const Bytes& desired) {
  return bytes_of(ask({.op = Op::compare_set, .keys = {key}, .values = {text_of(expected), text_of(desired)}}));
}

C10dStore::Bytes C10dStore::get(const std::string& key) { return bytes_of(ask({.op = Op::get, .keys = {key}})); }

std::int64_t C10dStore::add(const std::string& key, std::int64_t value) {
  return ask({.op = Op::add, .number = value, .keys = {key}}).number;
}

bool C10dStore::deleteKey(const std::string& key) { return ask({.op = Op::erase, .keys = {key}}).number != 0; }

bool C10dStore::check(const std::vector<std::string>& keys) {
  return keys.empty() || ask({.op = Op::check, .keys = keys}).number != 0;
}

std::int64_t C10dStore::getNumKeys() { return ask({.op = Op::count}).number; }

void C10dStore::wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) {
  if (!keys.empty()) link_->ask({.op = Op::get, .keys = keys}, timeout);
}

}  // namespace ringtron
