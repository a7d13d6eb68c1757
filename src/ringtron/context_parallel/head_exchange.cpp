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

at::Tensor HeadExchange::rows_of_member(const at::Tensor& x, int member) const {
  std::vector<at::Tensor> parts{x.narrow(0, 0, 0)};
  for (const RowMap& map : rows_[static_cast<std::size_t>(member)]) parts.push_back(x.narrow(0, map.merged, map.length));
  return at::cat(parts);
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
  const HeadShare& mine = shares.at(static_cast<std::size_t>(head_rank_));
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto& [x, kind] = tensors[t];
    RT_CHECK_EQ(x.size(0), local_lengths_[static_cast<std::size_t>(head_rank_)], "rows before an exchange of heads");
    pending.kinds.push_back(kind);
    const PositionRange& my_heads = heads_of(mine, kind);
    pending.results.push_back(sized(x, merged_length_, my_heads.length()));
    const at::Tensor own = x.narrow(2, my_heads.begin, my_heads.length());
    for (int member = 0; member < head_ranks_; ++member) {
      at::Tensor data = own;
      if (member != head_rank_) {
        const PositionRange& heads = heads_of(shares[static_cast<std::size_t>(member)], kind);
        sends.push_back({first_ + member, x.narrow(2, heads.begin, heads.length()).contiguous()});
        data = sized(x, local_lengths_[static_cast<std::size_t>(member)], my_heads.length());
        receives.push_back({first_ + member, data});
        if (silent_) stand_in(data, own);
      }
      pending.pieces.push_back({member, t, std::move(data)});
    }
  }
  start(pending, std::move(sends), std::move(receives));
  return pending;
}

PendingHeads HeadExchange::start_to_sequence(const std::vector<HeadTensor>& tensors,
                                             const std::vector<HeadShare>& shares, std::vector<at::Tensor> results) {
  PendingHeads pending;
  pending.to_heads = false;
  pending.shares = shares;
  pending.results = std::move(results);
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto& [x, kind] = tensors[t];
    RT_CHECK_EQ(x.size(0), merged_length_, "rows after an exchange of heads");
    pending.kinds.push_back(kind);
    const at::Tensor own = rows_of_member(x, head_rank_);
    for (int member = 0; member < head_ranks_; ++member) {
      at::Tensor data = own;
      if (member != head_rank_) {
        sends.push_back({first_ + member, rows_of_member(x, member)});
        data = sized(x, own.size(0), heads_of(shares[static_cast<std::size_t>(member)], kind).length());
        receives.push_back({first_ + member, data});
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
  for (const PendingHeads::Piece& piece : pending.pieces) {
    at::Tensor& result = pending.results[piece.tensor];
    if (pending.to_heads) {
      for (const RowMap& map : rows_[static_cast<std::size_t>(piece.member)]) {
        result.narrow(0, map.merged, map.length).copy_(piece.data.narrow(0, map.local, map.length));
      }
    } else {
      const PositionRange& heads = heads_of(pending.shares[static_cast<std::size_t>(piece.member)], pending.kinds[piece.tensor]);
      result.narrow(2, heads.begin, heads.length()).add_(piece.data);
    }
  }
  pending.pieces.clear();
  return std::move(pending.results);
}

}  // namespace ringtron
