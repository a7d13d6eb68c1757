// Fingerprints of operations, gathered and compared.
#include "ringtron/comm/decorators/checked_communicator.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <array>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"

namespace ringtron {
namespace {

const char* to_text(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return "sum";
    case ReduceOp::max:
      return "max";
    case ReduceOp::min:
      return "min";
  }
  return "unknown";
}

constexpr int kFields = 13;  // operation, type, reduction, root, number of dims, 8 sizes
constexpr int kMaxDims = 8;

}  // namespace

struct CheckedCommunicator::Fingerprint {
  std::array<std::int64_t, kFields> fields{};

  explicit Fingerprint(const CommCall& call) {
    const at::Tensor& tensor = call.given;
    fields[0] = static_cast<std::int64_t>(call.operation);
    fields[1] = tensor.defined() ? static_cast<std::int64_t>(tensor.scalar_type()) : -1;
    fields[2] = call.reduction;
    fields[3] = call.root;
    if (!tensor.defined()) return;
    RT_CHECK_LE(tensor.dim(), kMaxDims, "dims of a checked tensor");
    fields[4] = tensor.dim();
    for (std::int64_t dim = 0; dim < tensor.dim(); ++dim) fields[5 + dim] = tensor.size(dim);
  }

  static std::string describe(const std::int64_t* fields) {
    std::string text = to_text(static_cast<CommOperation>(fields[0]));
    if (fields[2] >= 0) text += fmt::format(" {}", to_text(static_cast<ReduceOp>(fields[2])));
    if (fields[3] >= 0) text += fmt::format(" from {}", fields[3]);
    if (fields[1] >= 0) {
      text += fmt::format(" {}[", c10::toString(static_cast<at::ScalarType>(fields[1])));
      for (std::int64_t dim = 0; dim < fields[4]; ++dim) text += fmt::format("{}{}", dim ? "," : "", fields[5 + dim]);
      text += "]";
    }
    return text;
  }
};

CheckedCommunicator::CheckedCommunicator(Communicator& inner, Communicator& control)
    : ForwardingCommunicator(inner), control_(control) {
  RT_CHECK_EQ(inner.size(), control.size(), "ranks of the control group");
}

void CheckedCommunicator::agree(const Fingerprint& mine) {
  ++sequence_;
  const at::Tensor shard = at::tensor(at::ArrayRef<std::int64_t>(mine.fields), at::kLong);
  const at::Tensor whole = at::empty({size() * std::int64_t{kFields}}, at::kLong);
  control_.all_gather(shard, whole).wait();
  const std::int64_t* all = whole.const_data_ptr<std::int64_t>();
  bool same = true;
  for (int peer = 0; peer < size(); ++peer) same = same && std::equal(all, all + kFields, all + peer * kFields);
  if (same) return;
  std::string sides;
  for (int peer = 0; peer < size(); ++peer) {
    sides +=
        fmt::format("{}rank {}: {}", peer ? "; " : "", global_rank(peer), Fingerprint::describe(all + peer * kFields));
  }
  throw CommError(fmt::format("{} group: expected all ranks to call the same operation as number {}, got {} [rank {}]",
                              name(), sequence_, sides, global_rank(rank())));
}

// Each rank publishes, per ordered pair (me -> peer) and (peer -> me), how many messages and a hash of their
// types and sizes in order; then what a sends to b must be what b receives from a.
void CheckedCommunicator::agree_on_messages(std::span<const Send> sends, std::span<const Receive> receives) {
  constexpr int kPerPeer = 6;  // messages, elements and hash sent to the peer; the same received from it
  const at::Tensor shard = at::zeros({size(), kPerPeer}, at::kLong);
  std::int64_t* mine = shard.mutable_data_ptr<std::int64_t>();
  const auto note = [&](int peer, int offset, const at::Tensor& tensor) {
    RT_CHECK(peer >= 0 && peer < size(), "{} group: exchange with rank {} of {}", name(), peer, size());
    std::int64_t* entry = mine + peer * kPerPeer + offset;
    entry[0] += 1;
    entry[1] += tensor.numel();
    const auto mixed =
        static_cast<std::uint64_t>(entry[2]) * 1099511628211ULL + static_cast<std::uint64_t>(tensor.numel());
    entry[2] = static_cast<std::int64_t>(mixed * 31 + static_cast<std::uint64_t>(tensor.scalar_type()));
  };
  for (const Send& message : sends) note(message.peer, 0, message.tensor);
  for (const Receive& message : receives) note(message.peer, 3, message.tensor);
  const at::Tensor whole = at::empty({size() * std::int64_t{size()}, kPerPeer}, at::kLong);
  control_.all_gather(shard, whole).wait();
  const auto entry = [&](int of, int towards) {
    return whole.const_data_ptr<std::int64_t>() + (of * size() + towards) * kPerPeer;
  };
  for (int from = 0; from < size(); ++from) {
    for (int to = 0; to < size(); ++to) {
      const std::int64_t* sent = entry(from, to);
      const std::int64_t* received = entry(to, from) + 3;
      if (std::equal(sent, sent + 3, received)) continue;
      throw CommError(
          fmt::format("{} group: exchange number {}: rank {} sends {} message(s) of {} elements to rank {}, "
                      "which expects {} of {}; "
                      "their order, types and sizes must agree [rank {}]",
                      name(), sequence_, global_rank(from), sent[0], sent[1], global_rank(to), received[0], received[1],
                      global_rank(rank())));
    }
  }
}

bool CheckedCommunicator::before(const CommCall& call) {
  agree(Fingerprint(call));
  if (call.operation == CommOperation::exchange) agree_on_messages(call.sends, call.receives);
  return true;
}

}  // namespace ringtron
