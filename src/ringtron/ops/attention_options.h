// What a call of the attention operators says beside its tensors, and what follows from it without communication.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ringtron/context_parallel/context_parallel.h"
#include "ringtron/context_parallel/plan/gqa_head_shares.h"

namespace ringtron::ops {

struct AttentionOptions {
  std::string group_name;  // of torch.distributed
  std::string cp_comm_type;
  std::string layout;
  bool causal = false;
  AttentionWindow window = {};
  std::int64_t seq_length = 0;  // of the whole sequence
  std::int64_t head_ranks = 0;  // the first of hierarchical_context_parallel_sizes; 0: none were given
  std::int64_t groups = 0;      // key/value heads
  bool deterministic = false;   // torch.use_deterministic_algorithms
  double scale = 1.0;

  // As plain numbers, for the operators that torch.compile traces; and the inverse.
  std::vector<std::int64_t> numbers() const;
  void set_numbers(at::IntArrayRef numbers);
};

// A size as a number. Sizes decide the plan, so torch.compile makes a graph for each: one that it left open is fixed.
std::int64_t size_of(const at::Tensor& x, int dim);

// This process in the group. Throws ValueError (c10) when there is no such group.
struct Place {
  int rank = 0, ranks = 1;
};
Place place_in(const std::string& group_name);

// Throws ValueError for another word than zigzag and contiguous.
SequenceLayout layout_of(const std::string& word, std::int64_t seq_length, int ranks);

// What the forward keeps beside its inputs and its output, by rows: functions of sizes alone, so that they are the same
// with and without documents.
struct SavedRows {
  bool heads_exchanged = false;  // q and out as they are between the two exchanges of heads
  std::int64_t queries = 0;      // rows of these, or of q
  HeadShare heads;               // of this rank
  std::int64_t keys = 0;         // rows of k and v that are kept; 0: the inputs are
};
SavedRows saved_rows(const AttentionOptions& options, std::int64_t heads);

// Throws ValueError or TypeError, before anything is sent, unless q [s, b, n, d], k [s, b, g, d] and v [s, b, g, d_v]
// are what the options and the group want of this rank.
void check_attention(const AttentionOptions& options, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

// Where documents begin, of cumulative lengths [0, ..., seq_length]. Throws ValueError naming the first bad entry. A
// tensor on a device makes the host wait for it.
std::vector<std::int64_t> document_starts(const at::Tensor& cu_seqlens, std::int64_t seq_length);

}  // namespace ringtron::ops
