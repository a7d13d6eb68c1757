// What a rank has in memory while it runs a plan: rows of keys and values by owner, and sums of their gradients.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "ringtron/context_parallel/plan/exchange_plan.h"
#include "ringtron/context_parallel/row_sum.h"

namespace ringtron::internal {

struct KeyValue {
  at::Tensor k, v;        // [rows, b, g, d] and [rows, b, g, d_v]; gradients likewise
  at::Tensor scale = {};  // of gradients: a factor of both, fp32 [1]; undefined: none
};

// Rows that came in one message, or a whole block, or the whole sequence.
struct Piece {
  PositionRange rows;
  KeyValue block;
};

class HeldBlocks {
 public:
  // Begins with the whole block of `owner`, contiguous. `exact`: kernels read no row but those of an attend; then rows that
  // no attend reads in the whole sequence need not be there.
  HeldBlocks(const ExchangePlan& plan, const SequenceLayout& layout, int owner, KeyValue block, bool exact);

  // Views; nothing of a block without rows. The rows must lie in one piece.
  KeyValue rows(int owner, const PositionRange& rows) const;
  // The rows of that piece.
  PositionRange piece_of(int owner, const PositionRange& rows) const;

  // Whether rows of K and V arrive in their places in the whole sequence, each of these parts of a message by itself; the
  // same on all ranks. Otherwise what one rank sends another is one message.
  bool arrives_in_place() const { return in_place_; }
  std::vector<PositionRange> parts_of(int owner, const PositionRange& rows) const;
  // The place of such a part.
  KeyValue place_of(int owner, const PositionRange& part) const;
  // What has arrived.
  void add(int owner, const PositionRange& rows, KeyValue block);
  // This block stays, once it has come.
  void keep(int owner) { kept_ = owner; }
  // Drops blocks that no step after `step` attends to or sends. After the last step nothing is dropped.
  void release_after(std::size_t step);

  // Room for that many rows to arrive.
  KeyValue buffer(std::int64_t rows) const;
  // Fills a buffer for keys and values from the block held first, for a message that is never sent (a fault on purpose).
  void stand_in(KeyValue& buffer) const;

 private:
  const Piece& piece(int owner, const PositionRange& rows) const;
  void put_in_place(int owner, const PositionRange& rows, const KeyValue& block);

  const SequenceLayout& layout_;
  KeyValue first_;                        // for shapes and types
  std::map<int, std::size_t> last_use_;   // step, by owner
  std::size_t steps_;
  std::optional<int> kept_;
  std::map<int, std::vector<Piece>> pieces_;  // by owner; kWholeSequence too
  bool in_place_ = false;
  KeyValue whole_;                            // the whole sequence, filled as blocks arrive; undefined if no step wants it
};

class GradientSums {
 public:
  // k, v: any block, for its shape and device. Sums are in `type`. `scale`: a factor of what attends give, fp32 [1];
  // with it this rank's own gradients travel in fp16, as attends give them.
  GradientSums(const SequenceLayout& layout, int rank, const at::Tensor& k, const at::Tensor& v, at::ScalarType type,
               at::Tensor scale);

  // Adds what an attend gave to its rows; `piece`: of the piece that these rows lie in.
  void add(const Attend& attend, const PositionRange& piece, const KeyValue& part);
  // Adds what has arrived for these rows.
  void receive(int owner, const PositionRange& rows, const KeyValue& sum);
  // Gives away the sum of these rows, to be sent: exactly those of a piece, or any of the whole sequence.
  KeyValue take(Payload payload, int owner, const PositionRange& rows);
  // Room for such a message.
  KeyValue buffer(Payload payload, std::int64_t rows) const;
  // The sum for this rank's own block, in `type`.
  KeyValue home(at::ScalarType type);

 private:
  struct Piece {
    PositionRange rows;
    RowSum k, v;
  };

  Piece& piece(int owner, const PositionRange& rows);
  // Whether it travels in fp16 with a scale.
  bool is_scaled(Payload payload) const { return scale_.defined() && payload == Payload::key_value_gradient; }
  KeyValue rows_of(Payload payload, Piece& piece, std::span<const PositionRange> ranges) const;

  const SequenceLayout& layout_;
  int rank_;
  at::ScalarType type_;
  at::Tensor scale_;
  at::Tensor k_, v_;  // empty, of the sums' type
  std::map<int, std::vector<Piece>> pieces_;
};

}  // namespace ringtron::internal
