// The one text of a communication failure, and the shapes each operation demands.
#include "ringtron/comm/group.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"

namespace ringtron {
namespace {

// A death is noticed within milliseconds of the broken connection; the rest is for a busy machine.
constexpr auto kGrace = std::chrono::milliseconds(1000);

bool is_timeout(const std::string& reason) {
  return reason.find("imed out") != std::string::npos || reason.find("imeout") != std::string::npos;
}

std::string who_is(const Group& group, int member) {
  const int rank = group.members[static_cast<std::size_t>(member)];
  return group.liveness != nullptr ? group.liveness->who(rank) : fmt::format("rank {}", rank);
}

void check_contiguous(const Group& group, const at::Tensor& tensor, const char* what) {
  RT_CHECK(tensor.is_contiguous(), "{} group: {} must be contiguous, got a strided tensor; call .contiguous()",
           group.name, what);
}

void check_pair(const Group& group, const at::Tensor& a, const at::Tensor& b, const char* what) {
  check_contiguous(group, a, what);
  check_contiguous(group, b, what);
  RT_CHECK(a.scalar_type() == b.scalar_type(), "{} group: {}: both tensors must have one type, got {} and {}",
           group.name, what, c10::toString(a.scalar_type()), c10::toString(b.scalar_type()));
}

void check_parts(const Group& group, const at::Tensor& whole, const at::Tensor& shard, const char* what) {
  check_pair(group, whole, shard, what);
  RT_CHECK(whole.numel() == shard.numel() * group.size(),
           "{} group: {}: expected the whole to hold {} shards, got {} and {} elements", group.name, what, group.size(),
           whole.numel(), shard.numel());
}

}  // namespace

void throw_comm_error(const Group& group, const CommOperation& operation, const std::string& reason) {
  std::string who;
  if (group.liveness != nullptr) {
    who = describe(group.liveness->losses(is_timeout(reason) ? std::chrono::milliseconds(0) : kGrace));
  }
  std::string waited;
  if (operation.peer >= 0) waited = fmt::format(", waiting for {}", who_is(group, operation.peer));
  throw CommError(fmt::format(
      "{} group (ranks {}): {} number {} failed on {}{}: {} [{}]", group.name, fmt::join(group.members, ","),
      operation.name, operation.sequence, who_is(group, group.rank), waited,
      who.empty() ? fmt::format("no rank is known to have died; timeout {} ms", group.timeout.count()) : who,
      reason.substr(0, reason.find('\n'))));
}

void check_all_gather(const Group& group, const at::Tensor& shard, const at::Tensor& whole) {
  check_parts(group, whole, shard, "all_gather");
}

void check_reduce_scatter(const Group& group, const at::Tensor& whole, const at::Tensor& shard) {
  check_parts(group, whole, shard, "reduce_scatter");
}

void check_all_to_all(const Group& group, const at::Tensor& in, const at::Tensor& out) {
  check_pair(group, in, out, "all_to_all");
  RT_CHECK_EQ(in.numel(), out.numel(), "elements of in and out in all_to_all");
  RT_CHECK_EQ(in.numel() % group.size(), 0, "elements of an all_to_all that its ranks do not divide");
}

void check_exchange(const Group& group, std::span<const Send> sends, std::span<const Receive> receives) {
  const auto check_one = [&](int peer, const at::Tensor& tensor) {
    RT_CHECK(peer >= 0 && peer < group.size() && peer != group.rank,
             "{} group: exchange: expected a peer among {} ranks other than {} itself, got {}", group.name,
             group.size(), group.rank, peer);
    check_contiguous(group, tensor, "exchange");
  };
  for (const Send& send : sends) check_one(send.peer, send.tensor);
  for (const Receive& receive : receives) check_one(receive.peer, receive.tensor);
}

}  // namespace ringtron
