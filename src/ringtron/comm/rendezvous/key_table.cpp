#include "ringtron/comm/rendezvous/key_table.h"

#include <algorithm>
#include <cstdlib>

#include "ringtron/comm/rendezvous/wire.h"

namespace ringtron {

std::string StoreRequest::bytes() const {
  return wire::Packer().number(id).number(op).number(number).texts(keys).texts(values).take();
}

StoreRequest StoreRequest::from(const std::string& bytes) {
  wire::Unpacker in(bytes);
  StoreRequest out;
  out.id = in.number<std::uint32_t>();
  out.op = in.number<Op>();
  out.number = in.number<std::int64_t>();
  out.keys = in.texts();
  out.values = in.texts();
  in.end();
  const std::size_t values = out.op == Op::set ? 1 : out.op == Op::compare_set ? 2 : 0;
  const bool keyless = out.op == Op::count || out.op == Op::cancel;
  if (out.op > Op::cancel || out.values.size() != values || out.keys.empty() != keyless)
    throw wire::Malformed("no request");
  return out;
}

std::string StoreReply::bytes() const { return wire::Packer().number(id).number(number).text(value).take(); }

StoreReply StoreReply::from(const std::string& bytes) {
  wire::Unpacker in(bytes);
  StoreReply out;
  out.id = in.number<std::uint32_t>();
  out.number = in.number<std::int64_t>();
  out.value = in.text();
  in.end();
  return out;
}

bool KeyTable::has_all(const std::vector<std::string>& keys) const {
  return std::ranges::all_of(keys, [&](const std::string& key) { return values_.contains(key); });
}

std::vector<std::pair<int, StoreReply>> KeyTable::handle(int rank, const StoreRequest& request) {
  using Op = StoreRequest::Op;
  StoreReply reply{.id = request.id};
  std::vector<std::pair<int, StoreReply>> due;
  switch (request.op) {
    case Op::set:
      values_[request.keys[0]] = request.values[0];
      break;
    case Op::get:
      waiting_.push_back({rank, request});
      break;
    case Op::add: {
      std::string& value = values_[request.keys[0]];
      reply.number = std::strtoll(value.c_str(), nullptr, 10) + request.number;
      value = std::to_string(reply.number);
      break;
    }
    case Op::compare_set: {
      const auto found = values_.find(request.keys[0]);
      const bool write = found == values_.end() ? request.values[0].empty() : found->second == request.values[0];
      if (write) values_[request.keys[0]] = request.values[1];
      reply.value = write ? request.values[1] : found == values_.end() ? request.values[0] : found->second;
      break;
    }
    case Op::erase:
      reply.number = static_cast<std::int64_t>(values_.erase(request.keys[0]));
      break;
    case Op::check:
      reply.number = has_all(request.keys) ? 1 : 0;
      break;
    case Op::count:
      reply.number = static_cast<std::int64_t>(values_.size());
      break;
    case Op::cancel:
      std::erase_if(waiting_, [&](const Waiting& one) { return one.rank == rank && one.request.id == request.id; });
      return due;
  }
  if (request.op != Op::get) due.emplace_back(rank, std::move(reply));
  std::erase_if(waiting_, [&](const Waiting& one) {
    if (!has_all(one.request.keys)) return false;
    due.emplace_back(one.rank, StoreReply{.id = one.request.id, .value = values_.at(one.request.keys[0])});
    return true;
  });
  return due;
}

void KeyTable::forget(int rank) {
  std::erase_if(waiting_, [&](const Waiting& one) { return one.rank == rank; });
}

}  // namespace ringtron
