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
      in_place_(layout.few_ranges()),
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

void HeadExchange::spread(const at::Tensor& local, const at::Tensor& merged, int member,
                          std::vector<RowCopy>& copies) const {
  for (const RowMap& map : rows_of(member)) {
    copies.push_back({merged.narrow(0, map.merged, map.length), local.narrow(0, map.local, map.length)});
  }
}

at::Tensor HeadExchange::gathered(const at::Tensor& merged, int member, std::vector<RowCopy>& copies) const {
  const std::vector<RowMap>& maps = rows_of(member);
  if (maps.size() == 1) return merged.narrow(0, maps[0].merged, maps[0].length);
  at::Tensor rows = sized(merged, local_lengths_[static_cast<std::size_t>(member)], merged.size(2));
  for (const RowMap& map : maps) {
    copies.push_back({rows.narrow(0, map.local, map.length), merged.narrow(0, map.merged, map.length)});
  }
  return rows;
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

// A member's rows of my heads: into their places, one message for each range, or into a buffer first.
void HeadExchange::receive_to_heads(PendingHeads& pending, std::size_t tensor, int member, const at::Tensor& own,
                                    std::vector<Receive>& receives) const {
  const at::Tensor& result = pending.results[tensor];
  if (!in_place_) {
    at::Tensor data = sized(result, local_lengths_[static_cast<std::size_t>(member)], result.size(2));
    receives.push_back({first_ + member, data});
    if (silent_) stand_in(data, own);
    pending.pieces.push_back({member, tensor, std::move(data)});
    return;
  }
  for (const RowMap& map : rows_of(member)) {
    at::Tensor place = result.narrow(0, map.merged, map.length);
    receives.push_back({first_ + member, place});
    if (silent_) stand_in(place, own);
  }
}

PendingHeads HeadExchange::start_to_heads(const std::vector<HeadTensor>& tensors, const std::vector<HeadShare>& shares) {
  PendingHeads pending;
  pending.shares = shares;
  std::vector<Send> sends;
  std::vector<Receive> receives;
  std::vector<RowCopy> packing, own_rows;
  const auto heads = [&](const at::Tensor& x, int member, HeadKind kind) {
    const PositionRange& range = heads_of(shares.at(static_cast<std::size_t>(member)), kind);
    return x.narrow(2, range.begin, range.length());
  };
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto& [x, kind] = tensors[t];
    RT_CHECK_EQ(x.size(0), local_lengths_[static_cast<std::size_t>(head_rank_)], "rows before an exchange of heads");
    const at::Tensor own = heads(x, head_rank_, kind);
    pending.kinds.push_back(kind);
    pending.results.push_back(sized(x, merged_length_, own.size(2)));
    spread(own, pending.results[t], head_rank_, own_rows);
    for (int member = 0; member < head_ranks_; ++member) {
      if (member == head_rank_) continue;
      const at::Tensor theirs = heads(x, member, kind), packed = sized(x, x.size(0), theirs.size(2));
      packing.push_back({packed, theirs});
      if (in_place_) {
        for (const RowMap& map : rows_of(head_rank_)) {
          sends.push_back({first_ + member, packed.narrow(0, map.local, map.length)});
        }
      } else {
        sends.push_back({first_ + member, packed});
      }
      receive_to_heads(pending, t, member, own, receives);
    }
  }
  copy_rows(packing);
  start(pending, std::move(sends), std::move(receives));
  copy_rows(own_rows);  // while the messages travel
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
  std::vector<RowCopy> packing;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto& [x, kind] = tensors[t];
    RT_CHECK_EQ(x.size(0), merged_length_, "rows after an exchange of heads");
    pending.kinds.push_back(kind);
    const at::Tensor own = gathered(x, head_rank_, packing);
    for (int member = 0; member < head_ranks_; ++member) {
      at::Tensor data = own;
      if (member != head_rank_) {
        data = sized(x, own.size(0), heads_of(shares[static_cast<std::size_t>(member)], kind).length());
        if (in_place_) {
          for (const RowMap& map : rows_of(member)) sends.push_back({first_ + member, x.narrow(0, map.merged, map.length)});
          for (const RowMap& map : rows_of(head_rank_)) {
            receives.push_back({first_ + member, data.narrow(0, map.local, map.length)});
          }
        } else {
          sends.push_back({first_ + member, gathered(x, member, packing)});
          receives.push_back({first_ + member, data});
        }
        if (silent_) stand_in(data, own);
      }
      pending.pieces.push_back({member, t, std::move(data)});
    }
  }
  copy_rows(packing);
  start(pending, std::move(sends), std::move(receives));
  return pending;
}

std::vector<at::Tensor> HeadExchange::finish(PendingHeads& pending) {
  pending.work.wait();
  pending.kept.clear();
  const bool adds = !pending.to_heads && heads_are_replicated(pending.shares);
  std::vector<RowCopy> copies;
  for (const PendingHeads::Piece& piece : pending.pieces) {
    const at::Tensor& result = pending.results[piece.tensor];
    if (pending.to_heads) {
      spread(piece.data, result, piece.member, copies);
      continue;
    }
    const HeadKind kind = pending.kinds[piece.tensor];
    const PositionRange& heads = heads_of(pending.shares[static_cast<std::size_t>(piece.member)], kind);
    at::Tensor place = result.narrow(2, heads.begin, heads.length());
    if (adds && kind == HeadKind::key_value) {
      place.add_(piece.data);
    } else {
      copies.push_back({place, piece.data});
    }
  }
  copy_rows(copies);
  pending.pieces.clear();
  return std::move(pending.results);
}

}  // namespace ringtron
