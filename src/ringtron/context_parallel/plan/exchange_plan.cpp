#include "ringtron/context_parallel/plan/exchange_plan.h"

#include <fmt/format.h>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

std::string text_of(const std::vector<PositionRange>& ranges) {
  std::string text;
  for (const PositionRange& range : ranges) {
    text += fmt::format("{}{}-{}", text.empty() ? "" : " ", range.begin, range.end - 1);
  }
  return text;
}

std::string text_of(const Band& band) {
  if (band.is_all()) return "";
  if (band.is_causal()) return " causal";
  const auto bound = [](std::int64_t b) { return b == Band::kUnbounded ? std::string("all") : std::to_string(b); };
  return fmt::format(" band {},{}", bound(band.left), bound(band.right));
}

std::string_view text_of(HeadPart heads) {
  switch (heads) {
    case HeadPart::all:
      break;
    case HeadPart::first:
      return " first heads";
    case HeadPart::filler:
      return " filler heads";
    case HeadPart::last:
      return " last heads";
  }
  return "";
}

std::string owner_name(int owner) { return owner == kWholeSequence ? "all" : std::to_string(owner); }

std::string text_of(const Message& m, const char* verb, const char* preposition, const SequenceLayout& layout) {
  return fmt::format(" | {} {} of {} [{}] {} {}", verb, to_text(m.payload), m.owner,
                     text_of(positions_of(layout, m.owner, m.rows)), preposition, m.peer);
}

}  // namespace

std::string_view to_text(Payload payload) {
  switch (payload) {
    case Payload::key_value:
      return "kv";
    case Payload::key_value_gradient:
      return "dkv";
    case Payload::key_value_gradient_sum:
      return "sum of dkv";
  }
  return "unknown";
}

Attend of_all_heads(Attend attend) {
  attend.heads = HeadPart::all;
  return attend;
}

void RowsSent::add(const Message& message) {
  switch (message.payload) {
    case Payload::key_value:
      key_value += message.rows.length();
      break;
    case Payload::key_value_gradient:
      gradient += message.rows.length();
      break;
    case Payload::key_value_gradient_sum:
      gradient_sum += message.rows.length();
      break;
  }
}

RowsSent rows_sent(const ExchangePlan& plan) {
  RowsSent rows;
  for (const Step& step : plan.steps) {
    for (const Message& message : step.sends) rows.add(message);
  }
  return rows;
}

std::vector<PositionRange> positions_of(const SequenceLayout& layout, int owner, const PositionRange& rows) {
  if (owner == kWholeSequence) return {rows};
  return slice_ranges(layout.of(owner), rows.begin, rows.length());
}

std::int64_t attended_area(const ExchangePlan& plan, std::int64_t samples) {
  std::int64_t area = 0;
  for (const Step& step : plan.steps) {
    for (const Attend& attend : step.attends) {
      if (attend.heads == HeadPart::first || attend.heads == HeadPart::filler) continue;
      area += attend.band.area(attend.q.length(), attend.kv.length()) * (attend.sample == kEverySample ? samples : 1);
    }
  }
  return area;
}

std::string to_string(const ExchangePlan& plan, const SequenceLayout& layout) {
  RT_CHECK_EQ(plan.ranks, layout.ranks(), "ranks of plan and layout");
  std::string text = fmt::format("rank {} of {}\n", plan.rank, plan.ranks);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    text += fmt::format("step {}:", i);
    for (const Attend& attend : step.attends) {
      text += fmt::format(" | q {} x kv of {} [{}]{}", text_of(positions_of(layout, plan.rank, attend.q)),
                          owner_name(attend.owner), text_of(positions_of(layout, attend.owner, attend.kv)),
                          text_of(attend.band));
      if (attend.sample != kEverySample) text += fmt::format(" sample {}", attend.sample);
      text += text_of(attend.heads);
    }
    for (const Message& m : step.sends) text += text_of(m, "send", "to", layout);
    for (const Message& m : step.receives) text += text_of(m, "receive", "from", layout);
    text += '\n';
  }
  return text;
}

}  // namespace ringtron
