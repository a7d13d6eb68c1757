// What one attention call received from other ranks, saved so that the same call can be made again without a message
// (recomputed activations, --cp-keep-kv).
//
//   AttentionCall call = ...;
//   call.saved_kv = std::make_shared<SavedKv>();
//   attention.forward(q, k, v, call);   // communicates, and fills it
//   attention.forward(q, k, v, call);   // sends nothing, and empties it
//
// The second call must have the same q, k, v and plan as the first, on all ranks: it computes with what the first one
// received. The memory is that of the blocks that came: (n-1) blocks of keys and values of a ring over n ranks, the
// whole sequence of a gather, and of an all-to-all the exchanged q, k, v and the output.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>

namespace ringtron {

struct KeyValue {
  at::Tensor k, v;  // [rows, b, g, d] and [rows, b, g, d_v]; gradients likewise
};

struct SavedKv {
  bool filled = false;              // by a call, and no other has emptied it since
  std::map<int, KeyValue> buffers;  // that messages filled, by their number in the schedule
  at::Tensor q;    // as it came out of the exchange to heads, like the given buffer; undefined without it
  at::Tensor out;  // after the exchange back to the sequence; undefined without it

  void clear() { *this = {}; }
};

}  // namespace ringtron
