#include "ringtron/context_parallel/plan/exchange_plan.h"

#include <fmt/format.h>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

std::string owner_name(int owner) { return owner == kWholeSequence ? "all" : std::to_string(owner); }

std::string text_of(const Message& m, const char* verb, const char* preposition, const SequenceLayout& layout) {
  return fmt::format(" | {} {} of {} [{}] {} {}", verb, to_text(m.payload), m.owner,
                     positions_text(positions_of(layout, m.owner, m.rows)), preposition, m.peer);
}

}  // namespace

std::string positions_text(const std::vector<PositionRange>& ranges) {
  std::string text;
  for (const PositionRange& range : ranges) {
    text += fmt::format("{}{}-{}", text.empty() ? "" : " ", range.begin, range.end - 1);
  }
  return text;
}

std::string band_text(const Band& band) {
  if (band.is_all()) return "";
  if (band.is_causal()) return " causal";
  const auto bound = [](std::int64_t b) { return b == Band::kUnbounded ? std::string("all") : std::to_string(b); };
  return fmt::format(" band {},{}", bound(band.left), bound(band.right));
}

std::string_view to_text(Payload payload) {
  switch (payload) {
    case Payload::key_value:
      return "kv";
    case Payload::key_value_gradient:
      return "dkv";
  }
  return "unknown";
}

std::vector<PositionRange> positions_of(const SequenceLayout& layout, int owner, const PositionRange& rows) {
  if (owner == kWholeSequence) return {rows};
  return slice_ranges(layout.of(owner), rows.begin, rows.length());
}

std::string to_string(const ExchangePlan& plan, const SequenceLayout& layout) {
  RT_CHECK_EQ(plan.ranks, layout.ranks(), "ranks of plan and layout");
  std::string text = fmt::format("rank {} of {}\n", plan.rank, plan.ranks);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    text += fmt::format("step {}:", i);
    for (const BlockTask& task : step.tasks) {
      text += fmt::format(" | q {} x kv of {} [{}]{}", positions_text(positions_of(layout, plan.rank, task.q)),
                          owner_name(task.owner), positions_text(positions_of(layout, task.owner, task.kv)),
                          band_text(task.band));
      if (task.sample != kAllSamples) text += fmt::format(" sample {}", task.sample);
    }
    for (const Message& m : step.sends) text += text_of(m, "send", "to", layout);
    for (const Message& m : step.receives) text += text_of(m, "receive", "from", layout);
    text += '\n';
  }
  return text;
}

}  // namespace ringtron
