#include "ringtron/context_parallel/run/ulysses_all_to_all.h"

#include <ATen/ATen.h>

#include <utility>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

std::int64_t row_of(const std::vector<PositionRange>& ranges, std::int64_t position) {
  for (const StoredRange& range : stored_ranges(ranges)) {
    if (position < range.positions.end) return range.rows_of({position, position}).begin;
  }
  return total_length(ranges);
}

at::Tensor sized(const at::Tensor& like, std::int64_t rows, std::int64_t heads) {
  return at::empty({rows, like.size(1), heads, like.size(3)}, like.options());
}

}  // namespace

UlyssesAllToAll::UlyssesAllToAll(Communicator& group, const SequenceLayout& layout, const SequenceLayout& merged,
                                 const std::vector<HeadShare>& shares)
    : group_(group),
      shares_(shares),
      own_(group.rank() % members()),
      first_(group.rank() - own_),
      merged_length_(merged.local_length(group.rank() / members())),
      in_place_(layout.few_ranges()) {
  const std::vector<PositionRange>& all = merged.of(group.rank() / members());
  for (int member = 0; member < members(); ++member) {
    std::vector<RowMap> maps;
    for (const auto& [positions, first_row] : stored_ranges(layout.of(first_ + member)))
      maps.push_back({first_row, row_of(all, positions.begin), positions.length()});
    rows_.push_back(std::move(maps));
    local_lengths_.push_back(layout.local_length(first_ + member));
  }
}

const PositionRange& UlyssesAllToAll::heads_of(int member, HeadKind kind) const {
  const HeadShare& share = shares_.at(static_cast<std::size_t>(member));
  return kind == HeadKind::query ? share.q : share.kv;
}

void UlyssesAllToAll::spread(const at::Tensor& local, const at::Tensor& merged, int member,
                             std::vector<RowCopy>& copies) const {
  for (const RowMap& map : rows_of(member)) {
    copies.push_back({merged.narrow(0, map.merged, map.length), local.narrow(0, map.local, map.length)});
  }
}

at::Tensor UlyssesAllToAll::gathered(const at::Tensor& merged, int member, std::vector<RowCopy>& copies) const {
  const std::vector<RowMap>& maps = rows_of(member);
  if (maps.size() == 1) return merged.narrow(0, maps[0].merged, maps[0].length);
  at::Tensor rows = sized(merged, local_lengths_[static_cast<std::size_t>(member)], merged.size(2));
  for (const RowMap& map : maps) {
    copies.push_back({rows.narrow(0, map.local, map.length), merged.narrow(0, map.merged, map.length)});
  }
  return rows;
}

Work UlyssesAllToAll::start(std::vector<Send>& sends, std::vector<Receive>& receives) const {
  std::erase_if(sends, [](const Send& send) { return send.tensor.numel() == 0; });
  std::erase_if(receives, [](const Receive& receive) { return receive.tensor.numel() == 0; });
  return group_.exchange(sends, receives);
}

std::vector<at::Tensor> UlyssesAllToAll::to_heads(const std::vector<HeadTensor>& tensors) const {
  std::vector<at::Tensor> results;
  std::vector<StagedBlock> staged;  // that do not arrive in their places
  std::vector<Send> sends;
  std::vector<Receive> receives;
  std::vector<RowCopy> packing, own_rows;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto& [x, kind] = tensors[t];
    RT_CHECK_EQ(x.size(0), local_lengths_[static_cast<std::size_t>(own_)], "rows before an exchange of heads");
    const auto heads = [&, &x = x, kind = kind](int member) {
      const PositionRange& range = heads_of(member, kind);
      return x.narrow(2, range.begin, range.length());
    };
    const at::Tensor own = heads(own_);
    results.push_back(sized(x, merged_length_, own.size(2)));
    spread(own, results[t], own_, own_rows);
    for (int member = 0; member < members(); ++member) {
      if (member == own_) continue;
      const at::Tensor theirs = heads(member), packed = sized(x, x.size(0), theirs.size(2));
      packing.push_back({packed, theirs});
      if (in_place_) {
        for (const RowMap& map : rows_of(own_))
          sends.push_back({first_ + member, packed.narrow(0, map.local, map.length)});
        for (const RowMap& map : rows_of(member))
          receives.push_back({first_ + member, results[t].narrow(0, map.merged, map.length)});
      } else {
        staged.push_back({member, t, sized(x, local_lengths_[static_cast<std::size_t>(member)], own.size(2))});
        sends.push_back({first_ + member, packed});
        receives.push_back({first_ + member, staged.back().data});
      }
    }
  }
  copy_rows(packing);
  Work work = start(sends, receives);
  copy_rows(own_rows);  // while the messages travel
  work.wait();
  std::vector<RowCopy> copies;
  for (const StagedBlock& block : staged) spread(block.data, results[block.tensor], block.member, copies);
  copy_rows(copies);
  return results;
}

void UlyssesAllToAll::to_sequence(const std::vector<HeadTensor>& tensors,
                                  const std::vector<at::Tensor>& results) const {
  std::vector<StagedBlock> staged;
  std::vector<Send> sends;
  std::vector<Receive> receives;
  std::vector<RowCopy> packing;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const auto& [x, kind] = tensors[t];
    RT_CHECK_EQ(x.size(0), merged_length_, "rows after an exchange of heads");
    const at::Tensor own = gathered(x, own_, packing);
    for (int member = 0; member < members(); ++member) {
      if (member == own_) {
        staged.push_back({member, t, own});
        continue;
      }
      at::Tensor data = sized(x, own.size(0), heads_of(member, kind).length());
      if (in_place_) {
        for (const RowMap& map : rows_of(member))
          sends.push_back({first_ + member, x.narrow(0, map.merged, map.length)});
        for (const RowMap& map : rows_of(own_))
          receives.push_back({first_ + member, data.narrow(0, map.local, map.length)});
      } else {
        sends.push_back({first_ + member, gathered(x, member, packing)});
        receives.push_back({first_ + member, data});
      }
      staged.push_back({member, t, std::move(data)});
    }
  }
  copy_rows(packing);
  start(sends, receives).wait();
  const bool adds = heads_are_replicated(shares_);
  std::vector<RowCopy> copies;
  for (const StagedBlock& block : staged) {
    const HeadKind kind = tensors[block.tensor].kind;
    const PositionRange& heads = heads_of(block.member, kind);
    at::Tensor place = results.at(block.tensor).narrow(2, heads.begin, heads.length());
    if (adds && kind == HeadKind::key_value) {
      place.add_(block.data);
    } else {
      copies.push_back({place, block.data});
    }
  }
  copy_rows(copies);
}

}  // namespace ringtron
