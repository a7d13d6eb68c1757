// Sequence for heads and back: the all-to-all of Ulysses, for any number of rows and heads.
//
// Ranks f .. f+A-1 of a group (f a multiple of A) form one exchange. Before it each holds its rows of all heads, after
// it the rows of all of them, in sequence order, for its own share of the heads. All ranks of the whole group call the
// exchanges in the same order, whichever they belong to.
// Source: DeepSpeed-Ulysses (Jacobs et al. 2023), without its wish that heads and rows divide.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/plan/gqa_head_shares.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/kernels/copy_rows/copy_rows.h"

namespace ringtron {

enum class HeadKind { query, key_value };  // whose heads dim 2 counts

struct HeadTensor {
  at::Tensor x;  // [rows, b, heads, d]
  HeadKind kind;
};

class UlyssesAllToAll {
 public:
  // References must outlive this. `merged` is layout.merged(shares.size()); `shares`: one per member.
  UlyssesAllToAll(Communicator& group, const SequenceLayout& layout, const SequenceLayout& merged,
                  const std::vector<HeadShare>& shares);

  // Every x: [this rank's rows, b, all heads, d]; results: [rows of all members, b, heads of my share, d]. Throws
  // CommError.
  std::vector<at::Tensor> to_heads(const std::vector<HeadTensor>& tensors) const;

  // The other way: x: [rows of all members, b, heads of my share, d], contiguous, is put into `results`: [this rank's
  // rows, b, all heads, d], of the type of x. Where several shares hold a key/value head it is added instead, in the
  // order of members, so results must hold zeros then; otherwise they may hold anything. Throws CommError.
  void to_sequence(const std::vector<HeadTensor>& tensors, const std::vector<at::Tensor>& results) const;

 private:
  // Rows [local, local + length) of a member are rows [merged, merged + length) of the exchange.
  struct RowMap {
    std::int64_t local, merged, length;
  };
  // What came from a member and is to be put in its place.
  struct StagedBlock {
    int member = 0;
    std::size_t tensor = 0;
    at::Tensor data;
  };
  int members() const { return static_cast<int>(shares_.size()); }
  const PositionRange& heads_of(int member, HeadKind kind) const;
  const std::vector<RowMap>& rows_of(int member) const { return rows_[static_cast<std::size_t>(member)]; }
  // Copies [rows of a member, ...] to their places in [rows of all members, ...].
  void spread(const at::Tensor& local, const at::Tensor& merged, int member, std::vector<RowCopy>& copies) const;
  // The rows of a member, contiguous: a view where they are one range.
  at::Tensor gathered(const at::Tensor& merged, int member, std::vector<RowCopy>& copies) const;
  Work start(std::vector<Send>& sends, std::vector<Receive>& receives) const;

  Communicator& group_;
  const std::vector<HeadShare>& shares_;
  int own_, first_;                          // this member, and the rank of member 0
  std::vector<std::vector<RowMap>> rows_;    // by member
  std::vector<std::int64_t> local_lengths_;  // by member
  std::int64_t merged_length_;
  bool in_place_;  // few ranges: each is a message of its own and arrives where it belongs
};

}  // namespace ringtron
