#include "ringtron/context_parallel/head_exchange.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

const PositionRange& heads_of(const HeadShare& share, HeadKind kind) {
  return kind == HeadKind::query ? share.q : share.kv;
}

std::int64_t row_of(const std::vector<PositionRange>& ranges, std::int64_t position) {
  std::int64_t row = 0;
  for (const PositionRange& range : ranges) {
    if (position < range.end) return row + position - range.begin;
    row += range.length();
  }
  return row;
}

at::Tensor sized(const at::Tensor& like, std::int64_t rows, std::int64_t heads) {
  return at::empty({rows, like.size(1), heads, like.size(3)}, like.options());
}

// What a rank has of its own in place of a message that never came.
void stand_in(at::Tensor& buffer, const at::Tensor& own) {
  buffer.zero_();
  const std::int64_t rows = std::min(buffer.size(0), own.size(0)), heads = std::min(buffer.size(2), own.size(2));
  buffer.narrow(0, 0, rows).narrow(2, 0, heads).copy_(own.narrow(0, 0, rows).narrow(2, 0, heads));
}

}  // namespace

HeadExchange::HeadExchange(Communicator& group, const SequenceLayout& layout, const SequenceLayout& merged,
                           int head_ranks, ExchangeCounts* counts, bool silent)
    : group_(group),
      head_ranks_(head_ranks),
      head_rank_(group.rank() % head_ranks),
      first_(group.rank() - head_rank_),
      merged_length_(merged.local_length(group.rank() / head_ranks)),
      counts_(counts),
      silent_(silent) {
  const std::vector<PositionRange>& all = merged.of(group.rank() / head_ranks);
  for (int member = 0; member < head_ranks; ++member) {
    std::vector<RowMap> maps;
    std::int64_t local = 0;
    for (const PositionRange& range : layout.of(first_ + member)) {
      maps.push_back({local, row_of(all, range.begin), range.length()});
      local += range.length();
    }
    rows_.push_back(std::move(maps));
    local_lengths_.push_back(local);
  }
}

// [this rank's rows, ...] to their places in [merged rows, ...].
void HeadExchange::copy_own_rows(const at::Tensor& x, at::Tensor& result) const {
  for (const RowMap& map : rows_[static_cast<std::size_t>(head_rank_)]) {
    result.narrow(0, map.merged, map.length).copy_(x.narrow(0, map.local, map.length));
  }
}

// The inverse.
at::Tensor HeadExchange::own_rows(const at::Tensor& x) const {
  std::vector<at::Tensor> parts{x.narrow(0, 0, 0)};
  for (const RowMap& map : rows_[static_cast<std::size_t>(head_rank_)]) parts.push_back(x.narrow(0, map.merged, map.length));
  return parts.size() == 2 ? parts[1] : at::cat(parts);
}

// A member's rows arrive in their places, one message for each of its ranges.
void HeadExchange::receive_rows(const at::Tensor& result, int member, const at::Tensor& own,
                                std::vector<Receive>& receives) const {
  for (const RowMap& map : rows_[static_cast<std::size_t>(member)]) {
    at::Tensor place = result.narrow(0, map.merged, map.length);
    receives.push_back({first_ + member, place});
    if (silent_) stand_in(place, own);
  }
}

void HeadExchange::start(PendingHeads& pending, std::vector<Send> sends, std::vector<Receive> receives) {
  std::erase_if(sends, [](const Send& send) { return send.tensor.numel() == 0; });
  std::erase_if(receives, [](const Receive& receive) { return receive.tensor.numel() == 0; });
  if (silent_) return;
  if (counts_ != nullptr) {
    for (const Send& send : sends) counts_->bytes += static_cast<std::int64_t>(send.tensor.nbytes());
  }
  for (const Send& send : sends) pending.kept.push_back(send.tensor);
  pending.work = group_.exchange(sends, receives);
}

PendingHeads HeadExchange::start_to_heads(const std::vector<HeadTensor>& tensors, const std::vector<HeadShare>& shares) {
  PendingHeads pending;
  pending.shares = shares;
  std::vector<Send> sends;
  std::vector<Receive> receives;
  const auto heads = [&](int member, HeadKind kind) { return heads_of(shares.at(static_cast<std::size_t>(member)), kind); };
  for (const auto& [x, kind] : tensors) {
    RT_CHECK_EQ(x.size(0), local_lengths_[static_cast<std::size_t>(head_rank_)], "rows before an exchange of heads");
    const PositionRange mine = heads(head_rank_, kind);
    at::Tensor result = sized(x, merged_length_, mine.length());
    const at::Tensor own = x.narrow(2, mine.begin, mine.length());
    for (int member = 0; member < head_ranks_; ++member) {
      if (member == head_rank_) continue;
      const PositionRange theirs = heads(member, kind);
      const at::Tensor packed = x.narrow(2, theirs.begin, theirs.length()).contiguous();
      for (const RowMap& map : rows_[static_cast<std::size_t>(head_rank_)]) {
        sends.push_back({first_ + member, packed.narrow(0, map.local, map.length)});
      }
      receive_rows(result, member, own, receives);
    }
    pending.kinds.push_back(kind);
    pending.results.push_back(std::move(result));
  }
  start(pending, std::move(sends), std::move(receives));
  // While the messages travel.
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const PositionRange mine = heads(head_rank_, tensors[t].kind);
    copy_own_rows(tensors[t].x.narrow(2, mine.begin, mine.length()), pending.results[t]);
  }
  return pending;
}

PendingHeads HeadExchange::start_to_sequence(const std::vector<HeadTensor>& tensors,
                                             const std::vector<HeadShare>& shares, std::vector<at::Tensor> results) {
  PendingHeads pending;
  pending.shares = shares;
  pending.results = std::move(results);
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto& [x, kind] = tensors[t];
    RT_CHECK_EQ(x.size(0), merged_length_, "rows after an exchange of heads");
    pending.kinds.push_back(kind);
    const at::Tensor own = own_rows(x);
    for (int member = 0; member < head_ranks_; ++member) {
      at::Tensor data = own;
      if (member != head_rank_) {
        for (const RowMap& map : rows_[static_cast<std::size_t>(member)]) {
          sends.push_back({first_ + member, x.narrow(0, map.merged, map.length)});
        }
        data = sized(x, own.size(0), heads_of(shares[static_cast<std::size_t>(member)], kind).length());
        for (const RowMap& map : rows_[static_cast<std::size_t>(head_rank_)]) {
          receives.push_back({first_ + member, data.narrow(0, map.local, map.length)});
        }
        if (silent_) stand_in(data, own);
      }
      pending.pieces.push_back({member, t, std::move(data)});
    }
  }
  start(pending, std::move(sends), std::move(receives));
  return pending;
}

std::vector<at::Tensor> HeadExchange::finish(PendingHeads& pending) {
  pending.work.wait();
  pending.kept.clear();
  const bool adds = heads_are_replicated(pending.shares);
  for (const PendingHeads::Piece& piece : pending.pieces) {
    const HeadKind kind = pending.kinds[piece.tensor];
    const PositionRange& heads = heads_of(pending.shares[static_cast<std::size_t>(piece.member)], kind);
    at::Tensor place = pending.results[piece.tensor].narrow(2, heads.begin, heads.length());
    if (adds && kind == HeadKind::key_value) {
      place.add_(piece.data);
    } else {
      place.copy_(piece.data);
    }
  }
  pending.pieces.clear();
  return std::move(pending.results);
}

}  // namespace ringtron
