#include "ringtron/context_parallel/plan/transport_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "ringtron/base/text.h"
#include "ringtron/context_parallel/plan/tile_batches.h"

namespace ringtron {
namespace {

// Beyond this many ranks a sample of them is priced: plans of one layout are alike.
constexpr int kRanksPriced = 8;
// Predictions nearer than this are equal: the model is not better.
constexpr double kTie = 0.02;
// Of transports that are equally fast, the one that holds least first.
constexpr CpTransport kLeastMemoryFirst[] = {CpTransport::p2p, CpTransport::a2a, CpTransport::hierarchical,
                                             CpTransport::all_gather};

// One step of one rank, or of the slowest.
struct Price {
  double attend = 0, transfer = 0;
  void keep_larger(const Price& other) {
    attend = std::max(attend, other.attend);
    transfer = std::max(transfer, other.transfer);
  }
};

// The plan of one rank with all that is needed to price its steps.
class RankPrices {
 public:
  RankPrices(const ChoiceInput& input, CpTransport transport, int rank)
      : in_(input),
        plan_(make_transport_plan(transport, std::max(1, input.hierarchical_a), input.request, rank)),
        share_(share_heads(input.shape.heads, input.shape.groups, plan_.head_ranks)
                   .at(static_cast<std::size_t>(rank % plan_.head_ranks))),
        bytes_(bytes_of(plan_, input.request.layout, input.shape, rank)),
        head_forward_(static_cast<double>(bytes_.forward) - row_bytes(rows_sent(plan_.forward))),
        head_backward_(static_cast<double>(bytes_.backward) - row_bytes(rows_sent(plan_.backward))),
        merged_share_(merged_share()),
        calls_of_step_{calls_of(plan_.forward), calls_of(plan_.backward)} {}

  const TransportPlan& plan() const { return plan_; }
  const std::vector<Step>& steps(bool forward) const { return (forward ? plan_.forward : plan_.backward).steps; }
  std::int64_t bytes() const { return bytes_.forward + bytes_.backward; }

  Price step(std::size_t number, bool forward) const {
    const Step& step = steps(forward)[number];
    const std::int64_t calls = calls_of_step_[forward ? 0 : 1][number];
    Price price;
    if (step.communicates)
      price.transfer = transfer(std::max(message_bytes(step.sends), message_bytes(step.receives)));
    double flops = 0, added = 0;
    for (const Attend& attend : step.attends) {
      const double samples = attend.sample == kEverySample ? static_cast<double>(in_.shape.samples) : 1.0;
      const std::int64_t heads = heads_of(attend).length();
      const double cells = static_cast<double>(attend.band.area(attend.q.length(), attend.kv.length())) *
                           samples * static_cast<double>(heads);
      flops += forward ? forward_flops(cells, in_.shape) : backward_flops(cells, in_.shape);
      const double part = static_cast<double>(heads) / static_cast<double>(std::max<std::int64_t>(share_.q.length(), 1));
      added += samples * part * (forward ? merged_bytes(attend) : summed_bytes(attend));
    }
    const AttentionSpeed& speed = in_.attention;
    price.attend = flops / (forward ? speed.forward_flops_per_second : speed.backward_flops_per_second) +
                   merged_share_ * added / speed.copy_bytes_per_second +
                   static_cast<double>(calls * exchange_parts()) * speed.seconds_per_block;
    return price;
  }

  // Copies of the whole pass that are not in its steps: blocks put in sequence order, heads packed and
  // unpacked.
  double copy_seconds(bool forward) const {
    double bytes = 4.0 * (forward ? head_forward_ : head_backward_);
    if (attends_to_whole_sequence()) {
      const double rows = static_cast<double>(plan_.inner.sequence_length() * in_.shape.samples);
      const double element = static_cast<double>(in_.shape.element_bytes);
      const double sum = forward ? 0.0 : static_cast<double>(in_.shape.gradient_bytes);
      bytes += 2.0 * rows * key_value_size() * (element + sum);
    }
    return bytes / in_.attention.copy_bytes_per_second;
  }

  // The exchange of heads before and after attention.
  Price heads(bool forward) const {
    Price price;
    const double bytes = forward ? head_forward_ : head_backward_;
    if (plan_.head_ranks > 1)
      price.transfer = 2 * in_.link.seconds_per_exchange + bytes / in_.link.bytes_per_second;
    return price;
  }

  double host_seconds(bool forward) const {
    const HostSpeed& host = in_.host;
    const int parts = exchange_parts();
    std::int64_t calls = 0, exchanges = plan_.head_ranks > 1 ? 2 : 0;
    for (const std::int64_t of_step : calls_of_step_[forward ? 0 : 1]) calls += of_step;
    for (const Step& step : steps(forward)) exchanges += step.communicates ? 1 : 0;
    return host.seconds_per_pass + parts * (static_cast<double>(calls) * host.seconds_per_block +
                                            static_cast<double>(exchanges) * host.seconds_per_exchange);
  }

  // As context_parallel.cpp cuts heads: where they divide.
  int exchange_parts() const {
    int parts = head_parts(plan_, in_.shape.samples, in_.link.head_parts);
    while (parts > 1 && share_.kv.length() % parts != 0) --parts;
    return parts;
  }

 private:
  // Of a kernel.
  std::vector<std::int64_t> calls_of(const ExchangePlan& pass) const {
    std::vector<std::int64_t> calls;
    const bool dense = std::all_of(in_.request.masks.begin(), in_.request.masks.end(), [](const auto& mask) { return mask.dense(); });
    if (in_.attention.batches_tiles && !dense) {
      for (const StepTiles& tiles : tile_batches(pass)) calls.push_back(std::ssize(tiles.batches) + std::ssize(tiles.rest));
    } else {
      for (const Step& step : pass.steps) {
        calls.push_back(std::ranges::count_if(step.attends, [&](const Attend& attend) { return !heads_of(attend).empty(); }));
      }
    }
    return calls;
  }
  PositionRange heads_of(const Attend& attend) const { return part_of(attend.heads, share_.q.length(), share_.kv.length(), cut()).q; }
  // Without fillers, which are for a device whose messages hide behind any part.
  HeadCut cut() const {
    const std::int64_t groups = share_.kv.length();
    if (!plan_.backward.gathers) return cut_in_two(groups, false);
    return cut_in_three(groups, !in_.attention.gpu || pays_to_cut(groups, in_.shape.key_size, in_.shape.value_size), false);
  }
  double key_value_size() const {
    return static_cast<double>(share_.kv.length() * (in_.shape.key_size + in_.shape.value_size));
  }
  double row_bytes(const RowsSent& rows) const {
    return static_cast<double>(in_.shape.samples) * key_value_size() *
           static_cast<double>(rows.key_value * in_.shape.element_bytes +
                               rows.gradient * in_.shape.gradient_bytes +
                               rows.gradient_sum * in_.shape.sum_bytes);
  }
  double message_bytes(const std::vector<Message>& messages) const {
    RowsSent rows;
    for (const Message& message : messages) rows.add(message);
    return row_bytes(rows);
  }
  double transfer(double bytes) const {
    return bytes > 0 ? in_.link.seconds_per_exchange + bytes / in_.link.bytes_per_second : 0.0;
  }
  // Bytes of adding one tensor of the model's type to one of the accumulate type.
  double adding(double elements) const {
    return elements * static_cast<double>(in_.shape.element_bytes + 2 * in_.shape.sum_bytes);
  }
  double merged_bytes(const Attend& attend) const {
    return adding(static_cast<double>(attend.q.length() * share_.q.length() * in_.shape.value_size));
  }
  double summed_bytes(const Attend& attend) const {
    return adding(static_cast<double>(attend.q.length() * share_.q.length() * in_.shape.key_size) +
                  static_cast<double>(attend.kv.length()) * key_value_size());
  }
  // The share of results that are added to earlier ones; of each row the first is there without that.
  double merged_share() const {
    double rows = 0;
    for (const Step& step : plan_.forward.steps) {
      for (const Attend& attend : step.attends) {
        rows +=
            static_cast<double>(attend.q.length() * (attend.sample == kEverySample ? in_.shape.samples : 1));
      }
    }
    const double first =
        static_cast<double>(plan_.inner.local_length(plan_.inner_rank()) * in_.shape.samples);
    return rows > first ? 1.0 - first / rows : 0.0;
  }
  bool attends_to_whole_sequence() const {
    for (const Step& step : plan_.forward.steps) {
      for (const Attend& attend : step.attends) {
        if (attend.owner == kWholeSequence) return true;
      }
    }
    return false;
  }

  const ChoiceInput& in_;
  TransportPlan plan_;
  HeadShare share_;
  TransportBytes bytes_;
  double head_forward_, head_backward_;  // bytes of the exchange of heads
  double merged_share_;
  std::array<std::vector<std::int64_t>, 2> calls_of_step_;  // forward, backward
};

std::vector<int> ranks_to_price(int ranks) {
  std::vector<int> priced;
  const int count = std::min(ranks, kRanksPriced);
  for (int i = 0; i < count; ++i)
    priced.push_back(static_cast<int>(static_cast<std::int64_t>(i) * ranks / count));
  return priced;
}

// Adds one pass of all ranks: step by step, since a step ends when its slowest rank has sent.
void add_pass(const ChoiceInput& input, std::span<const RankPrices> ranks, bool forward,
              TransportPrediction& sum) {
  std::size_t count = 0;
  for (const RankPrices& rank : ranks) count = std::max(count, rank.steps(forward).size());
  Price pass, heads;
  double seconds = 0, copies = 0, host = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Price slowest;
    for (const RankPrices& rank : ranks) {
      if (i < rank.steps(forward).size()) slowest.keep_larger(rank.step(i, forward));
    }
    seconds += slowest.attend + slowest.transfer -
               input.link.hidden_share * std::min(slowest.attend, slowest.transfer);
    pass.attend += slowest.attend;
    pass.transfer += slowest.transfer;
  }
  int parts = input.link.head_parts;
  for (const RankPrices& rank : ranks) {
    heads.keep_larger(rank.heads(forward));
    copies = std::max(copies, rank.copy_seconds(forward));
    parts = std::min(parts, rank.exchange_parts());
    host = std::max(host, rank.host_seconds(forward));
  }
  // Cut into parts, the exchange of all but the first and last one travels while attention works.
  const double hideable = heads.transfer * (1.0 - 1.0 / std::max(1, parts)) * input.link.hidden_share;
  sum.attend_seconds += pass.attend + copies;
  sum.transfer_seconds += pass.transfer + heads.transfer;
  sum.host_seconds += host;
  sum.seconds += seconds + copies + heads.transfer - std::min(hideable, pass.attend);
}

std::string refusal_of(CpTransport transport, const ChoiceInput& input) {
  if (transport == CpTransport::hierarchical && input.hierarchical_a == 0) {
    return "no --hierarchical-context-parallel-sizes";
  }
  return "";  // ranks without a head wait for the others: a price, no obstacle
}

std::string describe_p2p(const ChoiceInput& input, const TransportPrediction& best) {
  const bool dense = std::all_of(input.request.masks.begin(), input.request.masks.end(),
                                 [](const AttentionMask& m) { return m.dense(); });
  if (!dense) return "only the rows that the mask needs travel";
  if (best.exposed_seconds() < 0.01 * best.seconds) return "ring hop hides behind attention";
  return fmt::format("the least, although {:.2f} ms of its transfer does not hide", 1e3 * best.exposed_seconds());
}

std::string describe(const ChoiceInput& input, const TransportChoice& choice,
                     const TransportPrediction& best) {
  if (input.request.layout.ranks() == 1) return "one rank, nothing travels";
  if (best.host_bound() && best.host_seconds > 0) return "so short that the host's calls are the bound, of which it needs least";
  const TransportPrediction& ring = choice.predictions.front();
  switch (choice.transport) {
    case CpTransport::p2p:
      return describe_p2p(input, best);
    case CpTransport::all_gather:
      return fmt::format("one gather costs less than {} hops of the ring", input.request.layout.ranks() - 1);
    case CpTransport::a2a:
    case CpTransport::hierarchical:
      break;
  }
  if (best.bytes < ring.bytes) {
    return fmt::format("sends {} where the ring sends {}",
                       human_bytes(static_cast<std::uint64_t>(best.bytes)),
                       human_bytes(static_cast<std::uint64_t>(ring.bytes)));
  }
  return "whole sequences in few exchanges, and nothing to merge";
}

std::string milliseconds(double seconds) {
  return fmt::format("{:.{}f}", 1e3 * seconds, seconds < 1e-4 ? 4 : 2);
}

}  // namespace

DeviceSpeeds default_gpu_speeds() {
  // Exchanges of 4, 16, 64 and 256 MiB between two H200 took 63, 80, 254 and 883 us: 45 us and 320 GB/s fit
  // them.
  // Host: 1,024 tokens on each of two ranks, 4 key/value heads, took 0.84, 0.98 and 0.75 ms by ring, gather and a2a, all of it the
  // hosts'; these numbers give 0.84, 0.84 and 0.77.
  return {{320e9, 45e-6, 1.0, kHeadPartsOnGpu}, {580e12, 500e12, 20e-6, 4.0e12, true, true}, {125e-6, 80e-6, 90e-6}};
}

DeviceSpeeds default_cpu_speeds() {
  // Transfers of Gloo take the core that would compute.
  return {{1.0e9, 200e-6, 0.3, 1}, {20e9, 15e9, 50e-6, 8e9}};
}

double forward_flops(double cells, const AttentionShape& shape) {
  return 2.0 * cells * static_cast<double>(shape.key_size + shape.value_size);
}

double backward_flops(double cells, const AttentionShape& shape) {
  return 2.0 * cells * static_cast<double>(3 * shape.key_size + 2 * shape.value_size);
}

TransportPrediction predict_transport(CpTransport transport, const ChoiceInput& input) {
  TransportPrediction prediction;
  prediction.transport = transport;
  prediction.refusal = refusal_of(transport, input);
  if (transport == CpTransport::hierarchical && input.hierarchical_a == 0) return prediction;
  std::vector<RankPrices> ranks;
  for (const int rank : ranks_to_price(input.request.layout.ranks())) {
    ranks.emplace_back(input, transport, rank);
    prediction.bytes = std::max(prediction.bytes, ranks.back().bytes());
  }
  add_pass(input, ranks, true, prediction);
  add_pass(input, ranks, false, prediction);
  prediction.seconds = std::max(prediction.seconds, prediction.host_seconds);
  return prediction;
}

TransportChoice choose_transport(const ChoiceInput& input) {
  TransportChoice choice;
  double least = INFINITY;
  for (const CpTransport transport : kCpTransports) {
    choice.predictions.push_back(predict_transport(transport, input));
    const TransportPrediction& last = choice.predictions.back();
    if (last.refusal.empty()) least = std::min(least, last.seconds);
  }
  for (const CpTransport transport : kLeastMemoryFirst) {
    const TransportPrediction& p = choice.predictions[static_cast<std::size_t>(transport)];
    if (!p.refusal.empty() || p.seconds > (1.0 + kTie) * least) continue;
    choice.transport = transport;
    choice.reason = p.seconds > least
                        ? fmt::format("within {:.0f}% of the fastest, of these it holds least in memory", 100 * kTie)
                        : describe(input, choice, p);
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
    } else if (p.transport != CpTransport::hierarchical) {
      others.push_back(fmt::format("not {}: {}", to_text(p.transport), p.refusal));
    }
  }
  return fmt::format("{} (predicted {} ms a layer, forward and backward; {}): {}", to_text(choice.transport), best, join(others, ", "),
                     choice.reason);
}

}  // namespace ringtron
