// Messages from one rank to another in the order in which they are sent: a direction between two stages of a pipeline.
//
// Between GPUs of one machine with NVLink they are copies by the receiver's copy engine: a receive that waits, as most
// do for most of a step, then holds no multiprocessor, as NCCL's kernel would. Elsewhere each is a broadcast in the
// group of two, which both back ends begin without waiting for the other rank.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <utility>

#include "ringtron/comm/communicator.h"
#include "ringtron/comm/side_stream.h"

namespace ringtron {

enum class MessageWay { broadcast, copy_engine };

// The way of messages in a group of two, on the device; connects it. Collective.
MessageWay connect_messages(Communicator& group, at::Device device);

// On rank 0 of the group, which outlives it.
class MessageSender {
 public:
  // With `most` messages under way the oldest is waited for.
  MessageSender(Communicator& group, MessageWay way, std::size_t most) : group_(group), way_(way), most_(most) {}

  // Contiguous; kept until it has been sent.
  void send(at::Tensor tensor);
  // Waits for all.
  void finish();

 private:
  Communicator& group_;
  MessageWay way_;
  std::size_t most_;
  std::deque<std::pair<at::Tensor, Work>> under_way_;
};

// On rank 1.
class MessageReceiver {
 public:
  MessageReceiver(Communicator& group, MessageWay way, at::Device device);
  ~MessageReceiver();

  // Contiguous, as sent. May be used after the Work, which may be waited for in any order. With copy engines the host
  // waits there for the sender's host to come to its send; the device begins to copy when what it has been given before
  // this call is done, however much it has been given by then.
  Work receive(const at::Tensor& into);

 private:
  struct Copies;
  Communicator& group_;
  std::shared_ptr<Copies> copies_;  // empty: broadcasts
};

}  // namespace ringtron
