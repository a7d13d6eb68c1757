#include "ringtron/tools/profile/transfer_list.h"

#include <map>

#include "ringtron/context_parallel/plan/head_shares.h"

namespace ringtron {
namespace {

// Bytes of one row (one position, all samples) of what travels together.
struct RowSizes {
  std::int64_t q, key_value, key_value_gradient, out;
};

std::int64_t key_value_bytes(const HeadShare& share, const AttentionShape& shape, std::int64_t element_bytes) {
  return share.kv.length() * shape.samples * (shape.key_size + shape.value_size) * element_bytes;
}

RowSizes row_sizes(const HeadShare& share, const AttentionShape& shape, std::int64_t gradient_bytes) {
  const std::int64_t n = share.q.length() * shape.samples;
  return {n * shape.key_size * shape.element_bytes, key_value_bytes(share, shape, shape.element_bytes),
          key_value_bytes(share, shape, gradient_bytes), n * shape.value_size * shape.element_bytes};
}

class TransferList {
 public:
  TransferList(const TransportPlan& plan, const SequenceLayout& layout, const AttentionShape& shape, int rank)
      : plan_(plan),
        layout_(layout),
        head_rank_(rank % plan.head_ranks),
        first_(rank - rank % plan.head_ranks),
        my_rows_(layout.local_length(rank)) {
    const std::vector<HeadShare> shares = share_heads(shape.heads, shape.groups, plan.head_ranks);
    const std::int64_t returned = heads_are_replicated(shares) ? shape.sum_bytes : shape.element_bytes;
    for (const HeadShare& share : shares) to_home_.push_back(row_sizes(share, shape, returned));
    const HeadShare& mine = shares[static_cast<std::size_t>(head_rank_)];
    hop_ = {{Payload::key_value, key_value_bytes(mine, shape, shape.element_bytes)},
            {Payload::key_value_gradient, key_value_bytes(mine, shape, shape.gradient_bytes)},
            {Payload::key_value_gradient_sum, key_value_bytes(mine, shape, shape.sum_bytes)}};
  }

  std::vector<Transfer> take() {
    to_heads([](const RowSizes& row) { return row.q + row.key_value; });
    add_steps(plan_.forward);
    to_sequence([](const RowSizes& row) { return row.out; });
    to_heads([](const RowSizes& row) { return row.out; });
    add_steps(plan_.backward);
    to_sequence([](const RowSizes& row) { return row.q + row.key_value_gradient; });
    return std::move(list_);
  }

 private:
  // Each gets the rows of others for its own heads.
  template <class RowBytes>
  void to_heads(RowBytes bytes) {
    Transfer transfer;
    for (int j = 0; j < plan_.head_ranks; ++j) {
      if (j == head_rank_) continue;
      transfer.sends.push_back({first_ + j, my_rows_ * bytes(to_home_[static_cast<std::size_t>(j)])});
      transfer.receives.push_back({first_ + j, rows_of(j) * bytes(mine())});
    }
    if (plan_.head_ranks > 1) list_.push_back(std::move(transfer));
  }

  // Each gets its own rows back for the heads of others.
  template <class RowBytes>
  void to_sequence(RowBytes bytes) {
    Transfer transfer;
    for (int j = 0; j < plan_.head_ranks; ++j) {
      if (j == head_rank_) continue;
      transfer.sends.push_back({first_ + j, rows_of(j) * bytes(mine())});
      transfer.receives.push_back({first_ + j, my_rows_ * bytes(to_home_[static_cast<std::size_t>(j)])});
    }
    if (plan_.head_ranks > 1) list_.push_back(std::move(transfer));
  }

  void add_steps(const ExchangePlan& pass) {
    for (const Step& step : pass.steps) {
      if (step.communicates) list_.push_back({sized(step.sends), sized(step.receives)});
    }
  }

  std::vector<SizedMessage> sized(const std::vector<Message>& messages) const {
    std::vector<SizedMessage> sizes;
    for (const Message& message : messages) {
      sizes.push_back({message.peer, message.rows.length() * hop_.at(message.payload)});
    }
    return sizes;
  }

  std::int64_t rows_of(int member) const { return layout_.local_length(first_ + member); }
  const RowSizes& mine() const { return to_home_[static_cast<std::size_t>(head_rank_)]; }

  const TransportPlan& plan_;
  const SequenceLayout& layout_;
  int head_rank_, first_;
  std::int64_t my_rows_;
  std::vector<RowSizes> to_home_;  // by member of the exchange of heads
  std::map<Payload, std::int64_t> hop_;  // bytes of one row of what the inner plan passes
  std::vector<Transfer> list_;
};

}  // namespace

std::vector<Transfer> transfers_of(const TransportPlan& plan, const SequenceLayout& layout,
                                   const AttentionShape& shape, int rank) {
  return TransferList(plan, layout, shape, rank).take();
}

}  // namespace ringtron
