#include "ringtron/context_parallel/plan/exchange_plan.h"

namespace ringtron {

std::string_view to_text(Payload payload) { return payload == Payload::key_value ? "kv" : "dkv"; }

std::vector<PositionRange> positions_of(const SequenceLayout& layout, int owner, const PositionRange& rows) {
  if (owner == kWholeSequence) return {rows};
  return slice_ranges(layout.of(owner), rows.begin, rows.length());
}

}  // namespace ringtron
