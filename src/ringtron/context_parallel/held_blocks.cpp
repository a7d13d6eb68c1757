#include "ringtron/context_parallel/held_blocks.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "ringtron/base/check.h"

namespace ringtron::internal {
namespace {

bool contains(const PositionRange& outer, const PositionRange& inner) {
  return outer.begin <= inner.begin && inner.end <= outer.end;
}

at::Tensor sized(const at::Tensor& like, std::int64_t rows) {
  return at::empty({rows, like.size(1), like.size(2), like.size(3)}, like.options());
}

KeyValue narrowed(const KeyValue& block, std::int64_t first, std::int64_t rows) {
  return {block.k.narrow(0, first, rows), block.v.narrow(0, first, rows)};
}

// Its rows of each position range, one below the other.
KeyValue gathered(const KeyValue& whole, const std::vector<PositionRange>& ranges) {
  std::vector<at::Tensor> k{whole.k.narrow(0, 0, 0)}, v{whole.v.narrow(0, 0, 0)};
  for (const PositionRange& range : ranges) {
    k.push_back(whole.k.narrow(0, range.begin, range.length()));
    v.push_back(whole.v.narrow(0, range.begin, range.length()));
  }
  return {at::cat(k), at::cat(v)};
}

}  // namespace

HeldBlocks::HeldBlocks(const ExchangePlan& plan, const SequenceLayout& layout, int owner, KeyValue block)
    : layout_(layout), first_(block), steps_(plan.steps.size()) {
  pieces_[owner].push_back({{0, layout.local_length(owner)}, std::move(block)});
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    for (const Attend& attend : plan.steps[i].attends) {
      last_use_[attend.owner] = i;
      if (attend.owner != kWholeSequence) continue;
      for (int rank = 0; rank < layout.ranks(); ++rank) last_use_[rank] = i;
    }
    for (const Message& message : plan.steps[i].sends) {
      if (message.payload == Payload::key_value) last_use_[message.owner] = i;
    }
  }
}

const Piece& HeldBlocks::piece(int owner, const PositionRange& rows) const {
  if (owner == kWholeSequence && !pieces_.contains(owner)) assemble();
  const std::vector<Piece>& pieces = pieces_[owner];
  const auto found =
      std::find_if(pieces.begin(), pieces.end(), [&](const Piece& piece) { return contains(piece.rows, rows); });
  RT_CHECK(found != pieces.end(), "a plan needs rows {}-{} of the block of context-parallel rank {}, which are not held",
           rows.begin, rows.end, owner);
  return *found;
}

KeyValue HeldBlocks::rows(int owner, const PositionRange& rows) const {
  if (rows.empty()) return buffer(0);
  const Piece& held = piece(owner, rows);
  return narrowed(held.block, rows.begin - held.rows.begin, rows.length());
}

PositionRange HeldBlocks::piece_of(int owner, const PositionRange& rows) const { return piece(owner, rows).rows; }

void HeldBlocks::assemble() const {
  const std::int64_t length = layout_.sequence_length();
  const KeyValue whole = buffer(length);
  for (const auto& [owner, pieces] : pieces_) {
    for (const Piece& piece : pieces) {
      std::int64_t row = 0;
      for (const PositionRange& range : positions_of(layout_, owner, piece.rows)) {
        const KeyValue from = narrowed(piece.block, row, range.length());
        whole.k.narrow(0, range.begin, range.length()).copy_(from.k);
        whole.v.narrow(0, range.begin, range.length()).copy_(from.v);
        row += range.length();
      }
    }
  }
  pieces_.clear();
  pieces_[kWholeSequence].push_back({{0, length}, whole});
}

void HeldBlocks::add(int owner, const PositionRange& rows, KeyValue block) {
  pieces_[owner].push_back({rows, std::move(block)});
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
  if (buffer.k.scalar_type() != first_.k.scalar_type()) return;  // a sum of gradients: nothing came
  const std::int64_t rows = std::min(buffer.k.size(0), first_.k.size(0));
  buffer.k.narrow(0, 0, rows).copy_(first_.k.narrow(0, 0, rows));
  buffer.v.narrow(0, 0, rows).copy_(first_.v.narrow(0, 0, rows));
}

GradientSums::GradientSums(const SequenceLayout& layout, int rank, const at::Tensor& k, const at::Tensor& v,
                           at::ScalarType type)
    : layout_(layout), rank_(rank), k_(k.narrow(0, 0, 0).to(type)), v_(v.narrow(0, 0, 0).to(type)) {}

KeyValue GradientSums::buffer(std::int64_t rows) const { return {sized(k_, rows), sized(v_, rows)}; }

KeyValue GradientSums::zeros(std::int64_t rows) const {
  KeyValue block = buffer(rows);
  block.k.zero_();
  block.v.zero_();
  return block;
}

Piece& GradientSums::piece(int owner, const PositionRange& rows) {
  std::vector<Piece>& pieces = pieces_[owner];
  for (Piece& piece : pieces) {
    if (contains(piece.rows, rows)) return piece;
  }
  pieces.push_back({rows, zeros(rows.length())});
  return pieces.back();
}

void GradientSums::add(const Attend& attend, const PositionRange& piece_rows, const KeyValue& part) {
  Piece& sum = piece(attend.owner, piece_rows);
  KeyValue rows = narrowed(sum.block, attend.kv.begin - sum.rows.begin, attend.kv.length());
  if (attend.sample != kEverySample) {
    rows.k = rows.k.narrow(1, attend.sample, 1);
    rows.v = rows.v.narrow(1, attend.sample, 1);
  }
  rows.k.add_(part.k);
  rows.v.add_(part.v);
}

void GradientSums::receive(int owner, const PositionRange& rows, KeyValue sum) {
  // A rank's own block is one piece, so that parts of it find their place.
  Piece& held = piece(owner, owner == rank_ ? PositionRange{0, layout_.local_length(owner)} : rows);
  const KeyValue into = narrowed(held.block, rows.begin - held.rows.begin, rows.length());
  into.k.add_(sum.k);
  into.v.add_(sum.v);
}

KeyValue GradientSums::of_whole_sequence(int owner, const PositionRange& rows) const {
  const auto whole = pieces_.find(kWholeSequence);
  if (whole == pieces_.end()) return zeros(rows.length());
  return gathered(whole->second.front().block, positions_of(layout_, owner, rows));
}

KeyValue GradientSums::take(int owner, const PositionRange& rows) {
  const auto found = pieces_.find(owner);
  if (found != pieces_.end()) {
    auto& pieces = found->second;
    const auto exact = std::find_if(pieces.begin(), pieces.end(), [&](const Piece& piece) { return piece.rows == rows; });
    if (exact != pieces.end()) {
      KeyValue block = std::move(exact->block);
      pieces.erase(exact);
      return block;
    }
  }
  return of_whole_sequence(owner, rows);
}

KeyValue GradientSums::home() {
  const PositionRange rows{0, layout_.local_length(rank_)};
  const KeyValue own = piece(rank_, rows).block;
  if (pieces_.contains(kWholeSequence)) {
    const KeyValue more = of_whole_sequence(rank_, rows);
    own.k.add_(more.k);
    own.v.add_(more.v);
  }
  return own;
}

}  // namespace ringtron::internal
