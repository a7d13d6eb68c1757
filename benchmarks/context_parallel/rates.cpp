#include "benchmarks/context_parallel/rates.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>

#include "ringtron/base/clock.h"
#include "ringtron/base/random.h"
#include "ringtron/comm/local_communicator.h"
#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/context_parallel/schedule/lower.h"
#include "ringtron/context_parallel/transport_measure.h"
#include "ringtron/tools/profile/profile_report.h"

namespace ringtron::benchmark {
namespace {

// Those that auto chooses from.
constexpr CpTransport kChoices[] = {CpTransport::p2p, CpTransport::all_gather, CpTransport::a2a};
constexpr int kRounds = 2;  // each measures everything once, so that a machine that slows down slows all of it

struct Rate {
  double tflops = 0;  // per rank, at the median
  double median = 0;  // seconds
  double spread = 0;  // (p90 - least) / median
};

double flops_of(const LayerSetup& layer) {
  const double cells = layer.cells() / layer.layout().ranks();
  return forward_flops(cells, layer.shape) + backward_flops(cells, layer.shape);
}

Rate rate_of(const LayerSetup& layer, const std::vector<double>& seconds) {
  const Percentiles p = percentiles(seconds);
  return {flops_of(layer) / p.p50 / 1e12, p.p50, (p.p90 - p.least) / p.p50};
}

void append(std::vector<double>& all, const std::vector<double>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

// At least what was asked for, and on a GPU so many that power and clocks have settled: a burst runs 10% faster than
// training does.
Repeats repeats_of(const Setting& setting, const LayerSetup& layer) {
  Repeats repeats = setting.options.repeats;
  if (!setting.device.is_cuda()) return repeats;
  constexpr double kSettled = 0.3, kExpected = 400e12;  // seconds; FLOP/s
  const int steps = static_cast<int>(kSettled / (flops_of(layer) / kExpected));
  repeats.warmup = std::max(repeats.warmup, std::min(steps, 200));
  repeats.repeats = std::max(repeats.repeats, std::min(steps / 2, 100));
  return repeats;
}

std::vector<double> steps_of(const Setting& setting, LayerSetup layer, CpTransport transport) {
  layer.call.transport = transport;
  return LayerBench(*setting.group, layer, setting.attention_options()).time_steps(repeats_of(setting, layer));
}

std::vector<double> steps_of_one_rank(const Setting& setting, const LayerSetup& one) {
  LocalCommunicator alone("one rank", setting.environment.rank);
  setting.group->barrier();
  return LayerBench(alone, one, {}).time_steps(repeats_of(setting, one));
}

std::map<CpTransport, Rate> rates_of(const Setting& setting, const LayerSetup& layer,
                                     std::span<const CpTransport> transports) {
  std::map<CpTransport, std::vector<double>> seconds;
  for (int round = 0; round < kRounds; ++round) {
    for (const CpTransport transport : transports) append(seconds[transport], steps_of(setting, layer, transport));
  }
  std::map<CpTransport, Rate> rates;
  for (const auto& [transport, times] : seconds) rates[transport] = rate_of(layer, times);
  return rates;
}

std::map<CpTransport, Rate> rates_of(const Setting& setting, const LayerSetup& layer) {
  return rates_of(setting, layer, setting.transports());
}

// Column heads, one for each transport, and the line below a table's head.
std::string heads_of(const Setting& setting, const std::string& first, int columns) {
  std::string head = first, rule = "|";
  for (const CpTransport transport : setting.transports()) head += fmt::format(" {} |", to_text(transport));
  for (int i = 0; i < columns + static_cast<int>(setting.transports().size()); ++i) rule += "---|";
  return head + "\n" + rule;
}

// Of a rank that has the whole sequence for itself.
Rate rate_of_one_rank(const Setting& setting, const LayerSetup& layer) {
  const LayerSetup one = of_one_rank(layer);
  std::vector<double> seconds;
  for (int round = 0; round < kRounds; ++round) append(seconds, steps_of_one_rank(setting, one));
  return rate_of(one, seconds);
}

// One row of ratios. Returns our rates.
std::map<CpTransport, double> print_ratio_row(const Setting& setting, const std::string& name,
                                              const LayerSetup& layer) {
  const LayerSetup one = equal_work_of_one_rank(layer);
  std::vector<double> alone_seconds = steps_of_one_rank(setting, one);
  const std::map<CpTransport, Rate> rates = rates_of(setting, layer);
  append(alone_seconds, steps_of_one_rank(setting, one));
  const Rate alone = rate_of(one, alone_seconds);
  std::string row = fmt::format("| {} | {:.3g} ({:.1f}%) |", name, alone.tflops, 100 * alone.spread);
  std::map<CpTransport, double> tflops;
  for (const CpTransport transport : setting.transports()) {
    const Rate& rate = rates.at(transport);
    tflops[transport] = rate.tflops;
    row +=
        fmt::format(" {:.3f} ({:.2f} ms, {:.1f}%) |", rate.tflops / alone.tflops, 1e3 * rate.median, 100 * rate.spread);
  }
  setting.say(row);
  return tflops;
}

// Nine short documents for each long one, as profile_cp makes them up: of about unit / 64 and unit / 6
// tokens.
std::vector<std::int64_t> documents_of(std::int64_t length, std::int64_t unit) {
  std::vector<std::int64_t> starts;
  std::uint64_t draw = 0;
  const auto below = [&](std::int64_t limit) {
    return static_cast<std::int64_t>(random_word(5, 0, draw++)) % std::max<std::int64_t>(1, limit);
  };
  for (std::int64_t at = 0; at < length;) {
    starts.push_back(at);
    at += 1 + (below(10) == 0 ? unit / 8 + below(unit / 8) : unit / 128 + below(unit / 32));
  }
  return starts;
}

// Milliseconds of the median run.
template <class Run>
double milliseconds_of(const Setting& setting, Run run) {
  std::vector<double> seconds;
  for (int i = 0; i < setting.options.repeats.repeats; ++i) {
    const auto start = SteadyClock::now();
    run();
    seconds.push_back(seconds_since(start));
  }
  return 1e3 * percentiles(seconds).p50;
}

// Shapes on which auto is judged: short to long, many to few key/value heads, and a window.
struct AutoCase {
  Heads heads;
  std::int64_t tokens;
  AttentionWindow window;
};

std::vector<AutoCase> auto_cases(const Options& options) {
  std::vector<AutoCase> cases;
  const Heads few{options.heads[0].query, 2, options.heads[0].size};
  for (const Heads& heads : {options.heads[0], options.heads[1], few}) {
    cases.push_back({heads, options.tokens.front() / 8, {}});
    for (const std::int64_t tokens : options.tokens) cases.push_back({heads, tokens, {}});
  }
  for (const std::int64_t tokens : options.tokens) cases.push_back({options.heads[1], tokens, {tokens / 8, 0}});
  return cases;
}

}  // namespace

std::vector<std::int64_t> documents_of(std::int64_t length) { return documents_of(length, length); }

std::vector<OwnRates> print_rates(const Setting& setting) {
  std::vector<OwnRates> all;
  setting.say("\n### Rate per rank ÷ rate of the same kernel on one rank with equal work\n");
  setting.say(heads_of(setting, "| heads | tokens per rank | one rank, TFLOP/s (spread) |", 3));
  for (const Heads& heads : setting.options.heads) {
    for (const std::int64_t tokens : setting.options.tokens) {
      const LayerSetup layer = setting.layer(heads, tokens * setting.group->size());
      all.push_back({heads, tokens, print_ratio_row(setting, fmt::format("{} | {}", heads.name(), tokens), layer)});
    }
  }
  return all;
}

void print_documents(const Setting& setting) {
  setting.say("\n### Rate with documents ÷ rate of one causal sequence of the same length\n");
  setting.say(heads_of(setting, "| layout | tokens per rank | documents | largest area / mean | one rank |", 5));
  const Heads& heads = setting.options.heads.back();
  for (const std::int64_t tokens : setting.options.tokens) {
    const std::int64_t length = tokens * setting.group->size();
    const LayerSetup without = setting.layer(heads, length);
    const std::map<CpTransport, Rate> dense = rates_of(setting, without);
    const std::vector<std::int64_t> starts = documents_of(length);
    const double alone = rate_of_one_rank(setting, setting.layer(heads, length, CpLayout::zigzag, starts)).tflops /
                         rate_of_one_rank(setting, without).tflops;
    for (const CpLayout layout : {CpLayout::zigzag, CpLayout::balanced}) {
      const LayerSetup layer = setting.layer(heads, length, layout, starts);
      std::string row = fmt::format("| {} | {} | {} | {:.3f} | {:.3f} |", word_of(layout), tokens, starts.size(),
                                    area_imbalance(layer.layout(), layer.masks()), alone);
      for (const auto& [transport, rate] : rates_of(setting, layer)) {
        row += fmt::format(" {:.3f} ({:.2f} ms) |", rate.tflops / dense.at(transport).tflops, 1e3 * rate.median);
      }
      setting.say(row);
    }
  }
}

void print_planning(const Setting& setting) {
  if (!setting.speaks()) return;
  setting.say("\n### Time to plan one micro-batch of documents on one rank, in ms\n");
  setting.say(
      "| ranks | tokens | documents | balanced layout | plan and schedule of p2p | all_gather | a2a "
      "|\n|---|---|---|---|---|---|---|");
  for (const int ranks : {8, 16}) {
    for (const std::int64_t length : {std::int64_t{64} << 10, std::int64_t{128} << 10}) {
      const std::vector<std::int64_t> starts = documents_of(length, 16384);
      const std::vector<AttentionMask> masks = {AttentionMask(length, true, {}, starts)};
      const SequenceLayout layout = balanced_layout(masks, ranks);
      std::string row = fmt::format("| {} | {} | {} | {:.2f} |", ranks, length, starts.size(),
                                    milliseconds_of(setting, [&] { balanced_layout(masks, ranks); }));
      for (const CpTransport transport : kChoices) {
        row += fmt::format(" {:.2f} |", milliseconds_of(setting, [&] {
                             lower(make_transport_plan(transport, 1, {layout, masks}, ranks / 2),
                                   {ranks, ranks, true, true});
                           }));
      }
      setting.say(row);
    }
  }
}

void print_auto(const Setting& setting) {
  setting.say("\n### Time of the transport that auto chooses ÷ time of the fastest\n");
  setting.say(
      "| heads | tokens per rank | window | chosen | fastest | ratio | predicted, ms | measured, ms "
      "|\n|---|---|---|---|---|---|---|---|");
  double worst = 0;
  const std::vector<AutoCase> cases = auto_cases(setting.options);
  for (const AutoCase& c : cases) {
    LayerSetup layer = setting.layer(c.heads, c.tokens * setting.group->size());
    layer.call.window = c.window;
    const AttentionUse use{layer.layout().sequence_length(), c.window};
    const DeviceSpeeds speeds = measure_speeds(*setting.group, layer.shape, use, layer.type, layer.device);
    const std::vector<AttentionMask> masks = layer.masks();
    const TransportChoice choice = choose_transport({{layer.layout(), masks}, layer.shape, 0, speeds});
    const std::map<CpTransport, Rate> rates = rates_of(setting, layer, kChoices);
    const auto fastest = std::min_element(
        rates.begin(), rates.end(), [](const auto& a, const auto& b) { return a.second.median < b.second.median; });
    const double ratio = rates.at(choice.transport).median / fastest->second.median;
    worst = std::max(worst, ratio);
    std::string predicted, measured;
    for (const CpTransport transport : kChoices) {
      predicted += fmt::format("{:.2f} ", 1e3 * choice.of(transport).seconds);
      measured += fmt::format("{:.2f} ", 1e3 * rates.at(transport).median);
    }
    setting.say(fmt::format("| {} | {} | {} | {} | {} | {:.3f} | {}| {}|", c.heads.name(), c.tokens,
                            c.window.limited() ? std::to_string(c.window.left) : "-", to_text(choice.transport),
                            to_text(fastest->first), ratio, predicted, measured));
  }
  setting.say(fmt::format("\nworst of {} shapes: {:.3f}; predicted and measured in the order p2p, all_gather, a2a",
                          cases.size(), worst));
}

}  // namespace ringtron::benchmark
