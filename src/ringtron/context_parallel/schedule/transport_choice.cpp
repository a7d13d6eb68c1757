#include "ringtron/context_parallel/schedule/transport_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "ringtron/base/check.h"
#include "ringtron/base/text.h"
#include "ringtron/context_parallel/schedule/lower.h"

namespace ringtron {
namespace {

// Beyond this many ranks a sample of them is priced: plans of one layout are alike.
constexpr int kRanksPriced = 8;
// Predictions nearer than this are equal: the model is not better.
constexpr double kTie = 0.02;

// One step of one rank, or of the slowest.
struct Price {
  double attend = 0, transfer = 0;
  void keep_larger(const Price& other) {
    attend = std::max(attend, other.attend);
    transfer = std::max(transfer, other.transfer);
  }
};

// One pass of one rank.
struct PassPrice {
  std::vector<Price> steps;  // one after the other
  double heads = 0;          // exchanges of heads before and after attention
  double copies = 0;         // of the whole pass: blocks put in sequence order, heads packed and unpacked
  double host = 0;
  std::int64_t bytes = 0;  // sent
};

// Prices the schedules of one rank.
class RankPricer {
 public:
  RankPricer(const ChoiceInput& input, CpTransport transport, int rank)
      : in_(input),
        schedules_(lower(make_transport_plan(transport, std::max(1, input.hierarchical_a), input.request, rank),
                         {input.shape.heads, input.shape.groups, batches_tiles(input), batches_tiles(input)})),
        rank_(rank),
        share_(schedules_.forward.heads.at(static_cast<std::size_t>(rank) % schedules_.forward.heads.size())),
        merged_share_(merged_share()) {}

  std::array<PassPrice, 2> passes() const { return {price(schedules_.forward), price(schedules_.backward)}; }

 private:
  static bool batches_tiles(const ChoiceInput& input) {
    const bool dense = std::ranges::all_of(input.request.masks, [](const AttentionMask& mask) { return mask.dense(); });
    return input.speeds.attention.varlen && !dense;
  }
  double key_value_size() const {
    return static_cast<double>(share_.kv.length() * (in_.shape.key_size + in_.shape.value_size));
  }
  // Bytes of adding one tensor of the model's type to one of the accumulate type.
  double adding(double elements) const {
    return elements * static_cast<double>(in_.shape.element_bytes + 2 * in_.shape.sum_bytes);
  }
  double added_bytes(const Launch& launch, bool forward) const {
    const double rows = static_cast<double>(launch.q.length() * share_.q.length());
    if (forward) return adding(rows * static_cast<double>(in_.shape.value_size));
    return adding(rows * static_cast<double>(in_.shape.key_size) +
                  static_cast<double>(launch.kv.length()) * key_value_size());
  }
  double attention_seconds(const Launch& launch, bool forward) const {
    const double samples = launch.sample == kAllSamples ? static_cast<double>(in_.shape.samples) : 1.0;
    const double cells = static_cast<double>(cells_of(launch, in_.shape.samples) * share_.q.length());
    const AttentionSpeed& speed = in_.speeds.attention;
    const double seconds = forward ? forward_flops(cells, in_.shape) / speed.forward_flops_per_second
                                   : backward_flops(cells, in_.shape) / speed.backward_flops_per_second;
    return seconds + merged_share_ * samples * added_bytes(launch, forward) / speed.copy_bytes_per_second +
           speed.seconds_per_block;
  }
  // Reading and writing all blocks, where they are put in sequence order.
  double ordered_bytes(const Schedule& schedule) const {
    const bool ordered = std::ranges::any_of(schedules_.forward.buffers,
                                             [](const Buffer& buffer) { return buffer.owner == kWholeSequence; });
    if (!ordered) return 0.0;
    const double rows = static_cast<double>(schedule.layout.sequence_length() * in_.shape.samples);
    const double sum = schedule.pass == Pass::forward ? 0.0 : static_cast<double>(in_.shape.sum_bytes);
    return 2.0 * rows * key_value_size() * (static_cast<double>(in_.shape.element_bytes) + sum);
  }

  PassPrice price(const Schedule& schedule) const {
    const bool forward = schedule.pass == Pass::forward;
    const std::vector<SizedExchange> exchanges = exchanges_of(schedule, in_.request.layout, rank_, in_.shape);
    const auto& [link, attention, host] = in_.speeds;
    PassPrice pass;
    double head_bytes = 0;  // sent by exchanges of heads
    std::size_t launched = 0, exchanged = 0;
    for (const Operation& operation : schedule.operations) {
      const bool of_heads = std::holds_alternative<HeadExchange>(operation.what);
      std::int64_t most = 0;
      if (of_heads || std::holds_alternative<Exchange>(operation.what)) {
        const SizedExchange& sizes = exchanges[exchanged++];
        const std::int64_t sent = total_bytes(sizes.sends);
        most = std::max(sent, total_bytes(sizes.receives));
        pass.bytes += sent;
        if (of_heads) head_bytes += static_cast<double>(sent);
      }
      if (operation.step < 0) continue;
      const auto step = static_cast<std::size_t>(operation.step);
      if (step >= pass.steps.size()) pass.steps.resize(step + 1);
      if (const auto* launch = std::get_if<Launch>(&operation.what); launch != nullptr && !share_.q.empty()) {
        pass.steps[step].attend += attention_seconds(*launch, forward);
        ++launched;
      } else if (most > 0) {
        pass.steps[step].transfer += link.seconds_per_exchange + static_cast<double>(most) / link.bytes_per_second;
      }
    }
    if (schedule.heads.size() > 1) pass.heads = 2 * link.seconds_per_exchange + head_bytes / link.bytes_per_second;
    pass.copies = (4.0 * head_bytes + ordered_bytes(schedule)) / attention.copy_bytes_per_second;
    pass.host = host.seconds_per_pass + static_cast<double>(launched) * host.seconds_per_block +
                static_cast<double>(exchanged) * host.seconds_per_exchange;
    return pass;
  }
  // The share of results that are added to earlier ones; of each row the first is there without that.
  double merged_share() const {
    double rows = 0;
    for (const Operation& operation : schedules_.forward.operations) {
      const auto* launch = std::get_if<Launch>(&operation.what);
      if (launch != nullptr)
        rows += static_cast<double>(launch->q.length() * (launch->sample == kAllSamples ? in_.shape.samples : 1));
    }
    const double first = static_cast<double>(schedules_.forward.queries() * in_.shape.samples);
    return rows > first ? 1.0 - first / rows : 0.0;
  }

  const ChoiceInput& in_;
  RankSchedules schedules_;
  int rank_;
  HeadShare share_;
  double merged_share_;
};

std::vector<int> ranks_to_price(int ranks) {
  std::vector<int> priced;
  const int count = std::min(ranks, kRanksPriced);
  for (int i = 0; i < count; ++i) priced.push_back(static_cast<int>(static_cast<std::int64_t>(i) * ranks / count));
  return priced;
}

// Adds one pass of all ranks: step by step, since a step ends when its slowest rank has sent.
void add_pass(double hidden_share, std::span<const std::array<PassPrice, 2>> ranks, std::size_t number,
              TransportPrediction& sum) {
  std::vector<Price> slowest;
  double copies = 0, host = 0, heads = 0;
  for (const auto& passes : ranks) {
    const PassPrice& pass = passes[number];
    slowest.resize(std::max(slowest.size(), pass.steps.size()));
    for (std::size_t i = 0; i < pass.steps.size(); ++i) slowest[i].keep_larger(pass.steps[i]);
    heads = std::max(heads, pass.heads);
    copies = std::max(copies, pass.copies);
    host = std::max(host, pass.host);
  }
  for (const auto& [attend, transfer] : slowest) {
    sum.attention_seconds += attend;
    sum.transfer_seconds += transfer;
    sum.seconds += attend + transfer - hidden_share * std::min(attend, transfer);
  }
  sum.attention_seconds += copies;
  sum.transfer_seconds += heads;
  sum.host_seconds += host;
  sum.seconds += copies + heads;
}

std::string reason_of(const ChoiceInput& input, const TransportChoice& choice, const TransportPrediction& best) {
  if (input.request.layout.ranks() == 1) return "one rank, nothing travels";
  if (best.host_bound() && best.host_seconds > 0)
    return "so short that the host's calls are the bound, of which it needs least";
  const bool dense = std::ranges::all_of(input.request.masks, [](const AttentionMask& mask) { return mask.dense(); });
  return best.transport.row().reason({input.request.layout.ranks(), dense, best.seconds, best.exposed_seconds(),
                                      best.bytes, choice.of(CpTransport::p2p).bytes});
}

std::string milliseconds(double seconds) { return fmt::format("{:.{}f}", 1e3 * seconds, seconds < 1e-4 ? 4 : 2); }

}  // namespace

DeviceSpeeds default_gpu_speeds() {
  // Exchanges of 4, 16, 64 and 256 MiB between two H200 took 63, 80, 254 and 883 us: 45 us and 320 GB/s fit.
  // Host: 1,024 tokens on each of two ranks, 4 key/value heads, took 0.84, 0.98 and 0.75 ms by ring, gather and a2a,
  // all of it the hosts'; these numbers give 0.84, 0.84 and 0.77.
  return {{320e9, 45e-6, 1.0}, {580e12, 500e12, 20e-6, 4.0e12, true}, {125e-6, 80e-6, 90e-6}};
}

DeviceSpeeds default_cpu_speeds() {
  // Transfers of Gloo take the core that would compute.
  return {{1.0e9, 200e-6, 0.3}, {20e9, 15e9, 50e-6, 8e9}};
}

double forward_flops(double cells, const AttentionShape& shape) {
  return 2.0 * cells * static_cast<double>(shape.key_size + shape.value_size);
}

double backward_flops(double cells, const AttentionShape& shape) {
  return 2.0 * cells * static_cast<double>(3 * shape.key_size + 2 * shape.value_size);
}

const TransportPrediction& TransportChoice::of(CpTransport one) const {
  const auto found = std::ranges::find(predictions, one, &TransportPrediction::transport);
  RT_CHECK(found != predictions.end(), "no prediction of {}", to_text(one));
  return *found;
}

TransportPrediction predict_transport(CpTransport transport, const ChoiceInput& input) {
  TransportPrediction prediction;
  prediction.transport = transport;
  prediction.refusal = refusal_of(transport, input.hierarchical_a);
  if (!prediction.refusal.empty()) return prediction;
  std::vector<std::array<PassPrice, 2>> ranks;  // forward, backward
  for (const int rank : ranks_to_price(input.request.layout.ranks())) {
    ranks.push_back(RankPricer(input, transport, rank).passes());
    prediction.bytes = std::max(prediction.bytes, ranks.back()[0].bytes + ranks.back()[1].bytes);
  }
  for (const std::size_t pass : {0, 1}) add_pass(input.speeds.link.hidden_share, ranks, pass, prediction);
  prediction.seconds = std::max(prediction.seconds, prediction.host_seconds);
  return prediction;
}

TransportChoice choose_transport(const ChoiceInput& input) {
  TransportChoice choice;
  double least = INFINITY;
  for (const CpTransport transport : cp_transports()) {
    choice.predictions.push_back(predict_transport(transport, input));
    const TransportPrediction& last = choice.predictions.back();
    if (last.refusal.empty()) least = std::min(least, last.seconds);
  }
  std::vector<CpTransport> least_memory_first = cp_transports();
  std::ranges::stable_sort(least_memory_first, {}, [](CpTransport transport) { return transport.row().memory_order; });
  for (const CpTransport transport : least_memory_first) {
    const TransportPrediction& p = choice.of(transport);
    if (!p.refusal.empty() || p.seconds > (1.0 + kTie) * least) continue;
    choice.transport = transport;
    choice.reason = p.seconds > least
                        ? fmt::format("within {:.0f}% of the fastest, of these it holds least in memory", 100 * kTie)
                        : reason_of(input, choice, p);
    return choice;
  }
  return choice;  // not reached: p2p is always a candidate
}

std::string to_string(const TransportChoice& choice) {
  std::vector<std::string> others;
  std::string best;
  for (const TransportPrediction& p : choice.predictions) {
    if (p.transport == choice.transport) {
      best = milliseconds(p.seconds);
    } else if (p.refusal.empty()) {
      others.push_back(fmt::format("{} {}", to_text(p.transport), milliseconds(p.seconds)));
    }
  }
  return fmt::format("{} (predicted {} ms a layer, forward and backward; {}): {}", to_text(choice.transport), best,
                     join(others, ", "), choice.reason);
}

}  // namespace ringtron
