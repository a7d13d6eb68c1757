#include "ringtron/train/exchange_check.h"

#include <fmt/format.h>

#include <cstring>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/base/text.h"
#include "ringtron/train/agreement.h"

namespace ringtron {
namespace {

// Tables travel as the bytes of a text.
std::string to_bytes(const std::vector<std::int64_t>& table) {
  std::string bytes(table.size() * sizeof(std::int64_t), '\0');
  if (!table.empty()) std::memcpy(bytes.data(), table.data(), bytes.size());
  return bytes;
}

std::vector<std::int64_t> from_bytes(const std::string& bytes) {
  std::vector<std::int64_t> table(bytes.size() / sizeof(std::int64_t));
  if (!table.empty()) std::memcpy(table.data(), bytes.data(), bytes.size());
  return table;
}

std::string passed(const ExchangeProof& proof) {
  ExchangeCounts all;
  for (const auto& [layer, counts] : proof.layers()) all += counts.done;
  return fmt::format(
      "proof of exchange: {} layer{} sent and attended to what {} in the first step; this rank sent {} ({} bytes)",
      proof.layers().size(), proof.layers().size() == 1 ? "" : "s",
      proof.layers().size() == 1 ? "its plan says" : "their plans say",
      human_bytes(static_cast<std::uint64_t>(all.bytes)), all.bytes);
}

}  // namespace

void require_proven_exchange(const Job& job, const ExchangeProof& proof) {
  const auto tables = gather_texts(job.world(), to_bytes(proof.table()));
  run_collectively(job.world(), [&] {
    const Communicator& context = job.parallel().context();
    std::vector<std::vector<std::int64_t>> of_group;
    std::vector<std::string> ranks;
    for (int r = 0; r < context.size(); ++r) {
      of_group.push_back(from_bytes(tables[static_cast<std::size_t>(context.global_rank(r))]));
      ranks.push_back(fmt::format("{}", context.global_rank(r)));
    }
    const auto faults = check_exchange(of_group);
    if (faults.empty()) {
      if (job.is_first_rank() && context.size() > 1) print_line("{}", passed(proof));
      return;
    }
    throw InternalError(
        fmt::format("proof of exchange: ranks {} did not do in the first step what its plan "
                    "says. The weights are as "
                    "they were before it. Layers count from 0.\n  {}",
                    join(ranks, ", "), join(faults, "\n  ")));
  });
}

}  // namespace ringtron
