// One block that moves from rank to rank, in two buffers: the block held now and the one on its way.
//
//   RingExchange key_value(own_block);
//   for each step:
//     Work hop = start_messages(step, ring, &key_value, &gradient);
//     compute on key_value.current();
//     hop.wait();
//     key_value.arrived();        // if the step receives one; current() is now the received block
//
// Messages of one step, of both blocks, are one grouped exchange: every rank of the ring starts the same number.
// The buffers live as long as the object, which must outlive the wait. Not thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include "ringtron/comm/communicator.h"
#include "ringtron/context_parallel/exchange_plan.h"

namespace ringtron {

class RingExchange {
 public:
  enum class First { read_only, writable };

  // `first` is the block held at the beginning, contiguous. read_only: it is never received into.
  RingExchange(at::Tensor first, First kind) : current_(std::move(first)), writable_(kind == First::writable) {}

  at::Tensor& current() { return current_; }

  // Where the next block arrives; made on first use. Never the same memory as current().
  at::Tensor& incoming();

  // The received block becomes current(); the old buffer receives the one after.
  void arrived();

 private:
  at::Tensor current_, incoming_;
  bool writable_;
};

// Starts all messages of the step as one exchange; does nothing when the step has none. `gradient` may be null if the
// step moves no gradient.
Work start_messages(const Step& step, Communicator& ring, RingExchange& key_value, RingExchange* gradient);

// Whether the step receives a block of this kind.
bool receives(const Step& step, Payload payload);

}  // namespace ringtron
