#include "ringtron/context_parallel/held_blocks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"
#include "ringtron/kernels/copy_rows/copy_rows.h"

namespace ringtron::internal {
namespace {

bool contains(const PositionRange& outer, const PositionRange& inner) {
  return outer.begin <= inner.begin && inner.end <= outer.end;
}

at::Tensor sized(const at::Tensor& like, std::int64_t rows) {
  return at::empty({rows, like.size(1), like.size(2), like.size(3)}, like.options());
}

bool reads_in_whole_sequence(const ExchangePlan& plan, std::span<const PositionRange> positions) {
  for (const Step& step : plan.steps) {
    for (const Attend& attend : step.attends) {
      if (attend.owner != kWholeSequence) continue;
      const auto read = [&](const PositionRange& range) { return !intersection(range, attend.kv).empty(); };
      if (std::any_of(positions.begin(), positions.end(), read)) return true;
    }
  }
  return false;
}

KeyValue narrowed(const KeyValue& block, std::int64_t first, std::int64_t rows) {
  return {block.k.narrow(0, first, rows), block.v.narrow(0, first, rows)};
}

}  // namespace

HeldBlocks::HeldBlocks(const ExchangePlan& plan, const SequenceLayout& layout, int owner, KeyValue block, bool exact)
    : layout_(layout), first_(block), steps_(plan.steps.size()) {
  pieces_[owner].push_back({{0, layout.local_length(owner)}, std::move(block)});
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    for (const Attend& attend : plan.steps[i].attends) {
      last_use_[attend.owner] = i;
    }
    for (const Message& message : plan.steps[i].sends) {
      if (message.payload == Payload::key_value) last_use_[message.owner] = i;
    }
  }
  if (!plan.gathers) return;
  whole_ = buffer(layout_.sequence_length());
  if (!exact || reads_in_whole_sequence(plan, layout.of(owner))) {
    put_in_place(owner, {0, layout.local_length(owner)}, rows(owner, {0, layout.local_length(owner)}));
  }
  pieces_[kWholeSequence].push_back({{0, layout_.sequence_length()}, whole_});
  in_place_ = layout.few_ranges();
}

void HeldBlocks::put_in_place(int owner, const PositionRange& rows, const KeyValue& block) {
  std::vector<RowCopy> copies;
  std::int64_t row = 0;
  for (const PositionRange& positions : positions_of(layout_, owner, rows)) {
    const KeyValue place = narrowed(whole_, positions.begin, positions.length()), from = narrowed(block, row, positions.length());
    copies.push_back({place.k, from.k});
    copies.push_back({place.v, from.v});
    row += positions.length();
  }
  copy_rows(copies);
}

const Piece& HeldBlocks::piece(int owner, const PositionRange& rows) const {
  const auto pieces = pieces_.find(owner);
  if (pieces != pieces_.end()) {
    for (const Piece& piece : pieces->second) {
      if (contains(piece.rows, rows)) return piece;
    }
  }
  RT_CHECK(false, "a plan needs rows {}-{} of the block of context-parallel rank {}, which are not held", rows.begin, rows.end,
           owner);
}

KeyValue HeldBlocks::rows(int owner, const PositionRange& rows) const {
  if (rows.empty()) return buffer(0);
  const Piece& held = piece(owner, rows);
  return narrowed(held.block, rows.begin - held.rows.begin, rows.length());
}

PositionRange HeldBlocks::piece_of(int owner, const PositionRange& rows) const { return piece(owner, rows).rows; }

std::vector<PositionRange> HeldBlocks::parts_of(int owner, const PositionRange& rows) const {
  std::vector<PositionRange> parts;
  std::int64_t row = rows.begin;
  for (const PositionRange& positions : positions_of(layout_, owner, rows)) {
    parts.push_back({row, row + positions.length()});
    row += positions.length();
  }
  return parts;
}

KeyValue HeldBlocks::place_of(int owner, const PositionRange& part) const {
  const std::vector<PositionRange> place = positions_of(layout_, owner, part);
  RT_CHECK_EQ(place.size(), 1u, "ranges of the sequence that one part of a message covers");
  return narrowed(whole_, place[0].begin, place[0].length());
}

void HeldBlocks::add(int owner, const PositionRange& rows, KeyValue block) {
  if (!whole_.k.defined()) {
    pieces_[owner].push_back({rows, std::move(block)});
  } else if (!in_place_) {
    put_in_place(owner, rows, block);
  }
}

void HeldBlocks::release_after(std::size_t step) {
  if (step + 1 == steps_) return;
  std::erase_if(pieces_, [&](const auto& entry) {
    const auto use = last_use_.find(entry.first);
    return kept_ != entry.first && (use == last_use_.end() || use->second <= step);
  });
}

KeyValue HeldBlocks::buffer(std::int64_t rows) const { return {sized(first_.k, rows), sized(first_.v, rows)}; }

void HeldBlocks::stand_in(KeyValue& buffer) const {
  buffer.k.zero_();
  buffer.v.zero_();
  const std::int64_t rows = std::min(buffer.k.size(0), first_.k.size(0));
  buffer.k.narrow(0, 0, rows).copy_(first_.k.narrow(0, 0, rows));
  buffer.v.narrow(0, 0, rows).copy_(first_.v.narrow(0, 0, rows));
}

GradientSums::GradientSums(const SequenceLayout& layout, int rank, const at::Tensor& k, const at::Tensor& v,
                           at::ScalarType type, at::Tensor scale)
    : layout_(layout),
      rank_(rank),
      type_(type),
      scale_(std::move(scale)),
      k_(k.narrow(0, 0, 0).to(type)),
      v_(v.narrow(0, 0, 0).to(type)) {}

KeyValue GradientSums::buffer(Payload payload, std::int64_t rows) const {
  if (!is_scaled(payload)) return {sized(k_, rows), sized(v_, rows)};
  return {sized(k_.to(at::kHalf), rows), sized(v_.to(at::kHalf), rows), at::empty_like(scale_)};
}

GradientSums::Piece& GradientSums::piece(int owner, const PositionRange& rows) {
  std::vector<Piece>& pieces = pieces_[owner];
  for (Piece& piece : pieces) {
    if (contains(piece.rows, rows)) return piece;
  }
  pieces.push_back({rows, RowSum(k_, rows.length(), type_), RowSum(v_, rows.length(), type_)});
  return pieces.back();
}

void GradientSums::add(const Attend& attend, const PositionRange& piece_rows, const KeyValue& part) {
  Piece& sum = piece(attend.owner, piece_rows);
  const PositionRange rows{attend.kv.begin - sum.rows.begin, attend.kv.end - sum.rows.begin};
  if (attend.sample == kEverySample) {
    sum.k.add(rows, part.k, scale_);
    sum.v.add(rows, part.v, scale_);
  } else {
    sum.k.add_sample(rows, attend.sample, part.k, scale_);
    sum.v.add_sample(rows, attend.sample, part.v, scale_);
  }
}

void GradientSums::receive(int owner, const PositionRange& rows, const KeyValue& sum) {
  // A rank's own block is one piece, so that parts of it find their place.
  Piece& held = piece(owner, owner == rank_ ? PositionRange{0, layout_.local_length(owner)} : rows);
  const PositionRange into{rows.begin - held.rows.begin, rows.end - held.rows.begin};
  held.k.add(into, sum.k, sum.scale);
  held.v.add(into, sum.v, sum.scale);
}

KeyValue GradientSums::rows_of(Payload payload, Piece& piece, std::span<const PositionRange> ranges) const {
  if (is_scaled(payload)) return {piece.k.rows_unscaled(ranges, scale_), piece.v.rows_unscaled(ranges, scale_), scale_};
  return {piece.k.rows(ranges, type_), piece.v.rows(ranges, type_)};
}

KeyValue GradientSums::take(Payload payload, int owner, const PositionRange& rows) {
  const auto found = pieces_.find(owner);
  if (found != pieces_.end()) {
    auto& pieces = found->second;
    const auto exact = std::find_if(pieces.begin(), pieces.end(), [&](const Piece& piece) { return piece.rows == rows; });
    if (exact != pieces.end()) {
      const PositionRange all{0, rows.length()};
      const KeyValue block = is_scaled(payload) ? rows_of(payload, *exact, {&all, 1})
                                                : KeyValue{exact->k.all(type_), exact->v.all(type_)};
      pieces.erase(exact);
      return block;
    }
  }
  const auto whole = pieces_.find(kWholeSequence);
  if (whole != pieces_.end()) return rows_of(payload, whole->second.front(), positions_of(layout_, owner, rows));
  Piece nothing{rows, RowSum(k_, rows.length(), type_), RowSum(v_, rows.length(), type_)};
  return rows_of(payload, nothing, std::vector<PositionRange>{{0, rows.length()}});
}

KeyValue GradientSums::home(at::ScalarType type) {
  const PositionRange rows{0, layout_.local_length(rank_)};
  Piece& own = piece(rank_, rows);
  const auto whole = pieces_.find(kWholeSequence);
  if (whole != pieces_.end()) {
    const std::vector<PositionRange> positions = positions_of(layout_, rank_, rows);
    own.k.add_rows_of(whole->second.front().k, positions);
    own.v.add_rows_of(whole->second.front().v, positions);
  }
  return {own.k.all(type), own.v.all(type)};
}

}  // namespace ringtron::internal
