// Context-parallel attention that is wrong on purpose, to see that comparisons and proofs find it (verify_cp --inject,
// tests).
#pragma once

#include <memory>

#include "ringtron/context_parallel/context_parallel.h"

namespace ringtron {

enum class CpFault {
  none,
  swap_chunks,    // each rank's first and last row of keys change places
  drop_merge,     // the last part of each result is not merged
  skip_exchange,  // no message is sent; buffers hold zeros instead
  double_count,   // the first block is computed, and merged, twice
  wrong_kept,     // first and last row of the keys that a second call finds saved change places
};

// As make_cp_attention, with a fault in one layer; `layer` -1: in all.
std::unique_ptr<CpAttention> make_faulty_attention(Communicator& group, SequenceLayout layout,
                                                   const CpAttentionOptions& options, CpFault fault, int layer = -1);

}  // namespace ringtron
