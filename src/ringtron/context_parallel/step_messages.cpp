#include "ringtron/context_parallel/step_messages.h"

#include <ATen/ATen.h>

#include <map>

namespace ringtron::internal {
namespace {

// What one rank sends another in a step, by receiver or sender and payload: one message, whatever the number of its parts.
using Parcels = std::map<std::pair<int, Payload>, std::vector<Message>>;

Parcels parcels_of(const std::vector<Message>& messages) {
  Parcels parcels;
  for (const Message& message : messages) parcels[{message.peer, message.payload}].push_back(message);
  return parcels;
}

KeyValue joined(const std::vector<KeyValue>& blocks) {
  if (blocks.size() == 1) return blocks.front();
  // All gradients of one payload have the same scale, this rank's.
  std::vector<at::Tensor> k, v;
  for (const KeyValue& block : blocks) {
    k.push_back(block.k);
    v.push_back(block.v);
  }
  return {at::cat(k), at::cat(v), blocks.front().scale};
}

// The messages of one step as tensors.
class Mail {
 public:
  explicit Mail(Hop& hop) : hop_(hop) {}

  void send(int peer, const KeyValue& block) {
    for (const at::Tensor& tensor : {block.k, block.v, block.scale}) {
      if (!tensor.defined() || tensor.numel() == 0) continue;  // a rank without heads; its peers have none either
      sends.push_back({peer, tensor});
      hop_.kept.push_back(tensor);
    }
    bytes += static_cast<std::int64_t>(block.k.nbytes() + block.v.nbytes());
  }
  void receive(int peer, const KeyValue& room) {
    for (const at::Tensor& tensor : {room.k, room.v, room.scale}) {
      if (tensor.defined() && tensor.numel() != 0) receives.push_back({peer, tensor});
    }
  }
  void arrives(const Message& message, const KeyValue& room) { hop_.arriving.emplace_back(message, room); }

  std::vector<Send> sends;
  std::vector<Receive> receives;
  std::int64_t bytes = 0;  // sent, scales aside

 private:
  Hop& hop_;
};

void add_sends(const Step& step, const HeldBlocks& held, GradientSums* sums, Mail& mail) {
  for (const auto& [to, messages] : parcels_of(step.sends)) {
    const auto& [peer, payload] = to;
    std::vector<KeyValue> blocks;
    for (const Message& m : messages) {
      if (payload != Payload::key_value) {
        blocks.push_back(sums->take(payload, m.owner, m.rows));
      } else if (held.arrives_in_place()) {
        for (const PositionRange& part : held.parts_of(m.owner, m.rows)) mail.send(peer, held.rows(m.owner, part));
      } else {
        blocks.push_back(held.rows(m.owner, m.rows));
      }
    }
    if (!blocks.empty()) mail.send(peer, joined(blocks));
  }
}

void add_receives(const Step& step, const HeldBlocks& held, GradientSums* sums, Mail& mail) {
  for (const auto& [from, messages] : parcels_of(step.receives)) {
    const auto& [peer, payload] = from;
    if (payload == Payload::key_value && held.arrives_in_place()) {
      for (const Message& m : messages) {
        for (const PositionRange& part : held.parts_of(m.owner, m.rows)) {
          const KeyValue place = held.place_of(m.owner, part);
          mail.receive(peer, place);
          mail.arrives({m.peer, m.payload, m.owner, part}, place);
        }
      }
      continue;
    }
    std::int64_t rows = 0;
    for (const Message& m : messages) rows += m.rows.length();
    const KeyValue buffer = payload == Payload::key_value ? held.buffer(rows) : sums->buffer(payload, rows);
    mail.receive(peer, buffer);
    std::int64_t row = 0;
    for (const Message& m : messages) {
      mail.arrives(m, {buffer.k.narrow(0, row, m.rows.length()), buffer.v.narrow(0, row, m.rows.length()), buffer.scale});
      row += m.rows.length();
    }
  }
}

// For a message that is never sent: keys and values of this rank, and no gradient.
void stand_in(Payload payload, const HeldBlocks& held, KeyValue& buffer) {
  if (payload == Payload::key_value) return held.stand_in(buffer);
  for (const at::Tensor& tensor : {buffer.k, buffer.v, buffer.scale}) {
    if (tensor.defined()) tensor.zero_();
  }
}

}  // namespace

Hop start_messages(const Step& step, const PlanContext& context, const HeldBlocks& held, GradientSums* sums) {
  Hop hop;
  if (!step.communicates) return hop;
  Mail mail(hop);
  add_sends(step, held, sums, mail);
  add_receives(step, held, sums, mail);
  if (context.fault == CpFault::skip_exchange) {
    for (auto& [m, buffer] : hop.arriving) stand_in(m.payload, held, buffer);
    return hop;
  }
  if (context.counts != nullptr) context.counts->bytes += mail.bytes;
  hop.work = context.group.exchange(mail.sends, mail.receives);
  return hop;
}

Hop replayed(std::size_t step, KeptBlocks& kept, const HeldBlocks& held) {
  Hop hop;
  for (const KeptBlocks::Block& block : kept.take(step)) {
    if (held.arrives_in_place()) {
      const KeyValue place = held.place_of(block.owner, block.rows);
      place.k.copy_(block.k);
      place.v.copy_(block.v);
    }
    hop.arriving.push_back({{.owner = block.owner, .rows = block.rows}, {block.k, block.v}});
  }
  return hop;
}

}  // namespace ringtron::internal
