// Sequence for heads and back: the all-to-all of Ulysses, for any number of rows and heads.
//
// Ranks f .. f+A-1 of a group (f a multiple of A) form one exchange. Before it each holds its rows of all heads, after
// it the rows of all of them, in sequence order, for its own share of the heads. All ranks of the whole group call the
// same operations in the same order, whichever exchange they belong to.
//   PendingHeads under_way = exchange.start_to_heads({{q, HeadKind::query}, {k, HeadKind::key_value}}, shares);
//   ...                                     // compute something else meanwhile
//   std::vector<at::Tensor> mine = exchange.finish(under_way);
// Source: DeepSpeed-Ulysses (Jacobs et al. 2023), without its wish that heads and rows divide.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/plan/exchange_proof.h"
#include "ringtron/context_parallel/plan/head_shares.h"
#include "ringtron/context_parallel/plan/sequence_layout.h"
#include "ringtron/kernels/copy_rows/copy_rows.h"

namespace ringtron {

enum class HeadKind { query, key_value };  // whose heads dim 2 counts

struct HeadTensor {
  at::Tensor x;  // [rows, b, heads, d]
  HeadKind kind;
};

// An exchange on its way; keeps its buffers.
struct PendingHeads {
  // What comes from one member and is to be put in its place: its rows of my heads, or its heads of my rows.
  struct Piece {
    int member = 0;
    std::size_t tensor = 0;  // which of the tensors given
    at::Tensor data;
  };
  Work work;
  std::vector<at::Tensor> kept;  // being sent
  std::vector<Piece> pieces;     // none on the way to heads where what arrives lands in its place
  std::vector<at::Tensor> results;
  std::vector<HeadKind> kinds;
  std::vector<HeadShare> shares;
  bool to_heads = true;
};

class HeadExchange {
 public:
  // References must outlive this. `merged` is layout.merged(head_ranks). `counts`, unless null, gets the bytes sent.
  // `silent`: a fault on purpose: nothing is sent, this rank's own rows stand in.
  HeadExchange(Communicator& group, const SequenceLayout& layout, const SequenceLayout& merged, int head_ranks,
               ExchangeCounts* counts = nullptr, bool silent = false);

  int head_rank() const { return head_rank_; }

  // Every x: [this rank's rows, b, all heads, d]; results: [rows of all members, b, heads of my share, d]. `shares`: one
  // per member; they may cover a part of the heads only.
  PendingHeads start_to_heads(const std::vector<HeadTensor>& tensors, const std::vector<HeadShare>& shares);

  // The other way: x: [rows of all members, b, heads of my share, d], contiguous, is put into `results`: [this rank's rows,
  // b, all heads, d], of the type of x. Where several shares hold a key/value head it is added instead, in the order of
  // members, so results must hold zeros then; otherwise they may hold anything.
  PendingHeads start_to_sequence(const std::vector<HeadTensor>& tensors, const std::vector<HeadShare>& shares,
                                 std::vector<at::Tensor> results);

  // Waits and puts everything in place. Throws CommError.
  std::vector<at::Tensor> finish(PendingHeads& pending);

 private:
  // Rows [local, local + length) of a member are rows [merged, merged + length) of the exchange.
  struct RowMap {
    std::int64_t local, merged, length;
  };
  const std::vector<RowMap>& rows_of(int member) const { return rows_[static_cast<std::size_t>(member)]; }
  // Copies [rows of a member, ...] to their places in [rows of all members, ...].
  void spread(const at::Tensor& local, const at::Tensor& merged, int member, std::vector<RowCopy>& copies) const;
  // The rows of a member, contiguous: a view where they are one range.
  at::Tensor gathered(const at::Tensor& merged, int member, std::vector<RowCopy>& copies) const;
  void receive_to_heads(PendingHeads& pending, std::size_t tensor, int member, const at::Tensor& own,
                        std::vector<Receive>& receives) const;
  void start(PendingHeads& pending, std::vector<Send> sends, std::vector<Receive> receives);

  Communicator& group_;
  int head_ranks_, head_rank_, first_;
  std::vector<std::vector<RowMap>> rows_;     // by member
  std::vector<std::int64_t> local_lengths_;   // by member
  std::int64_t merged_length_;
  bool in_place_;  // few ranges: each is a message of its own and arrives where it belongs
  ExchangeCounts* counts_;
  bool silent_;
};

}  // namespace ringtron
