#include "ringtron/context_parallel/kept_exchange.h"

#include <ATen/ATen.h>

#include <set>
#include <utility>

namespace ringtron {

std::vector<KeptBlocks::Block> KeptBlocks::take(std::size_t step) {
  const auto found = steps_.find(step);
  if (found == steps_.end()) return {};
  std::vector<Block> blocks = std::move(found->second);
  steps_.erase(found);
  return blocks;
}

void KeptExchange::clear() {
  filled_ = false;
  parts_.clear();
  out.reset();
}

std::int64_t KeptExchange::bytes() const {
  std::set<const void*> seen;  // blocks of a gather are parts of one
  std::int64_t sum = 0;
  const auto add = [&](const at::Tensor& x) {
    if (!x.defined() || !seen.insert(x.storage().unsafeGetStorageImpl()).second) return;
    sum += static_cast<std::int64_t>(x.storage().nbytes());
  };
  for (const Part& part : parts_) {
    for (const at::Tensor& x : part.heads) add(x);
    for (const auto& [step, blocks] : part.blocks.steps_) {
      for (const KeptBlocks::Block& block : blocks) {
        add(block.k);
        add(block.v);
      }
    }
  }
  add(out);
  return sum;
}

void KeptExchange::spoil() {
  for (Part& part : parts_) {
    if (part.heads[1].defined()) part.heads[1] = with_ends_swapped(part.heads[1]);
    for (auto& [step, blocks] : part.blocks.steps_) {
      for (KeptBlocks::Block& block : blocks) block.k = with_ends_swapped(block.k);
    }
  }
}

at::Tensor with_ends_swapped(const at::Tensor& rows) {
  if (rows.size(0) < 2) return rows;
  at::Tensor swapped = rows.clone();
  swapped.select(0, 0).copy_(rows.select(0, rows.size(0) - 1));
  swapped.select(0, rows.size(0) - 1).copy_(rows.select(0, 0));
  return swapped;
}

}  // namespace ringtron
