// What one attention call received from other ranks, kept so that the same call can be made again without a
// message.
//
//   AttentionCall call = ...;
//   call.kept = std::make_shared<KeptExchange>();
//   attention.forward(q, k, v, call);   // communicates, and fills it
//   attention.forward(q, k, v, call);   // sends nothing, and empties it
//
// The second call must have the same q, k, v and plan as the first, on all ranks: it attends to what the
// first one received. The memory is that of the blocks that came: (n-1) blocks of keys and values of a ring
// over n ranks, the whole sequence of a gather, and of an all-to-all the exchanged q, k, v and the output.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "ringtron/context_parallel/plan/sequence_layout.h"

namespace ringtron {

// What one run of a plan received.
class KeptBlocks {
 public:
  struct Block {
    int owner = 0;
    PositionRange rows;  // of its block
    at::Tensor k, v;
  };
  void put(std::size_t step, Block block) { steps_[step].push_back(std::move(block)); }
  // What came in this step of the plan, in the same order; it is no longer kept.
  std::vector<Block> take(std::size_t step);

 private:
  friend class KeptExchange;
  std::map<std::size_t, std::vector<Block>> steps_;
};

class KeptExchange {
 public:
  // One part of the heads (all of them, but for an all-to-all in parts).
  struct Part {
    std::array<at::Tensor, 3>
        heads;  // q, k, v as they came out of the exchange to heads; undefined without it
    KeptBlocks blocks;
  };

  // Whether a call has filled it and none has emptied it since.
  bool filled() const { return filled_; }
  void set_filled() { filled_ = true; }
  // Drops what is left.
  void clear();

  // Begins with `count` empty parts.
  void begin(std::size_t count) { parts_.assign(count, {}); }
  Part& part(std::size_t number) { return parts_.at(number); }
  at::Tensor out;  // the output after the exchange back to the sequence; undefined without it

  // Memory held by all of it.
  std::int64_t bytes() const;
  // A fault on purpose: the first and last row of all keys change places.
  void spoil();

 private:
  bool filled_ = false;
  std::vector<Part> parts_;
};

// A copy whose first and last row have changed places: keys in the wrong order, a fault on purpose.
at::Tensor with_ends_swapped(const at::Tensor& rows);

}  // namespace ringtron
