#include "ringtron/context_parallel/exchange_plan.h"

#include <fmt/format.h>

#include "ringtron/base/check.h"

namespace ringtron {
namespace {

std::string chunk_numbers(const SequenceLayout& layout, int rank, ChunkSpan span) {
  std::string text;
  for (int i = 0; i < span.count; ++i) text += fmt::format(" {}", layout.of(rank).at(span.first + i).number);
  return text;
}

std::string payload_name(Payload payload) { return payload == Payload::key_value ? "kv" : "dkv"; }

}  // namespace

std::int64_t bytes_sent(const ExchangePlan& plan, std::int64_t key_value_bytes, std::int64_t gradient_bytes) {
  std::int64_t bytes = 0;
  for (const Step& step : plan.steps) {
    for (const Message& message : step.sends) {
      bytes += message.payload == Payload::key_value ? key_value_bytes : gradient_bytes;
    }
  }
  return bytes;
}

std::string to_string(const ExchangePlan& plan, const SequenceLayout& layout) {
  RT_CHECK_EQ(plan.ranks, layout.ranks(), "ranks of plan and layout");
  std::string text = fmt::format("rank {} of {}\n", plan.rank, plan.ranks);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& step = plan.steps[i];
    text += fmt::format("step {}: kv of {}", i, step.owner);
    for (const Attend& attend : step.attends) {
      text += fmt::format(" | q{} x kv{}{}", chunk_numbers(layout, plan.rank, attend.q),
                          chunk_numbers(layout, step.owner, attend.kv),
                          attend.mask == MaskKind::causal ? " causal" : "");
    }
    for (const Message& m : step.sends) {
      text += fmt::format(" | send {} {} to {}", payload_name(m.payload), m.owner, m.peer);
    }
    for (const Message& m : step.receives) {
      text += fmt::format(" | receive {} {} from {}", payload_name(m.payload), m.owner, m.peer);
    }
    text += '\n';
  }
  return text;
}

}  // namespace ringtron
