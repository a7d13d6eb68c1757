#include "ringtron/tools/profile/profile_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "ringtron/base/check.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

using nlohmann::json;

// Milliseconds with three digits that count.
std::string ms(double seconds) {
  const double value = 1e3 * seconds;
  return fmt::format("{:.{}f}", value, value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3);
}

std::string bytes_text(const TransportProfile& profile) {
  const std::int64_t most = *std::max_element(profile.planned.begin(), profile.planned.end());
  const char* verdict = profile.planned == profile.counted ? "=" : "NOT";
  return fmt::format("{} {} plan", human_bytes(static_cast<std::uint64_t>(most)), verdict);
}

std::vector<std::string> row_of(const TransportProfile& p) {
  return {p.transport,
          p.layers.empty() ? "-" : p.layers,
          bytes_text(p),
          ms(p.transfer_seconds),
          ms(p.hidden_seconds()),
          ms(p.exposed_seconds()),
          ms(p.forward.p50),
          ms(p.step.p50),
          ms(p.step.p90),
          ms(p.step.p99),
          fmt::format("{:.3g}", p.tflops),
          fmt::format("{:.3f}", p.against_one_rank),
          ms(p.predicted_seconds)};
}

std::vector<std::string> aligned(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::vector<std::string> lines;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += i < 2 ? fmt::format("{:<{}}  ", row[i], widths[i]) : fmt::format("{:>{}}  ", row[i], widths[i]);
    }
    lines.push_back(line.substr(0, line.find_last_not_of(' ') + 1));
  }
  return lines;
}

json to_json(const Percentiles& p) {
  return {{"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}, {"min", p.least}, {"max", p.most}};
}

json to_json(const TransportProfile& p) {
  return {{"transport", p.transport},
          {"layers", p.layers},
          {"planned_bytes", p.planned},
          {"counted_bytes", p.counted},
          {"step_seconds", to_json(p.step)},
          {"forward_seconds", to_json(p.forward)},
          {"local_seconds", p.local_seconds},
          {"transfer_seconds", p.transfer_seconds},
          {"hidden_seconds", p.hidden_seconds()},
          {"exposed_seconds", p.exposed_seconds()},
          {"tflops_per_rank", p.tflops},
          {"against_one_rank", p.against_one_rank},
          {"predicted_seconds", p.predicted_seconds}};
}

}  // namespace

Percentiles percentiles(std::vector<double> values) {
  RT_CHECK(!values.empty(), "percentiles of no values");
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
    return values[std::clamp<std::size_t>(rank, 1, values.size()) - 1];
  };
  return {at(0.50), at(0.90), at(0.99), values.front(), values.back()};
}

double TransportProfile::exposed_seconds() const { return std::max(0.0, step.p50 - local_seconds); }

double TransportProfile::hidden_seconds() const { return std::max(0.0, transfer_seconds - exposed_seconds()); }

std::vector<std::string> profile_heading(const CpProfile& profile) {
  return {
      profile.machine, profile.layer,
      fmt::format(
          "largest area of a rank's positions / mean: {:.3f}; ranks that share heads have the positions of all of them",
          profile.area_imbalance)};
}

std::vector<std::string> profile_table(const CpProfile& profile) {
  std::vector<std::string> lines;
  lines.push_back(fmt::format("one rank, {} rows with 1/{} of the cells: {} ms (p90 {}, p99 {}), {:.3g} TFLOP/s",
                              profile.one_rank.rows, profile.ranks, ms(profile.one_rank.step.p50),
                              ms(profile.one_rank.step.p90), ms(profile.one_rank.step.p99), profile.one_rank.tflops));
  lines.push_back(
      fmt::format("per layer, forward and backward, ms; {} repeats, of each the slowest rank", profile.repeats));
  std::vector<std::vector<std::string>> rows = {{"transport", "layers", "bytes of a rank", "transfer", "hidden",
                                                 "exposed", "forward", "step p50", "p90", "p99", "TFLOP/s",
                                                 "vs one rank", "predicted"}};
  for (const TransportProfile& transport : profile.transports) rows.push_back(row_of(transport));
  for (std::string& line : aligned(rows)) lines.push_back(std::move(line));
  lines.push_back("auto: " + profile.choice);
  for (
      const char* line :
      {"transfer: the messages alone. exposed: the step less the same work without its messages; on a busy machine ranks also wait",
       "for each other there, so it may exceed the transfer. hidden: the rest of the transfer. vs one rank: rate of a rank / that of",
       "one rank alone, by the kernel of the first lines. predicted: what auto expects of a step."}) {
    lines.push_back(line);
  }
  return lines;
}

std::string profile_json(const CpProfile& profile) {
  json transports = json::array();
  for (const TransportProfile& transport : profile.transports) transports.push_back(to_json(transport));
  const json all = {{"machine", profile.machine},
                    {"layer", profile.layer},
                    {"sequence_length", profile.sequence_length},
                    {"ranks", profile.ranks},
                    {"repeats", profile.repeats},
                    {"area_imbalance", profile.area_imbalance},
                    {"one_rank",
                     {{"rows", profile.one_rank.rows},
                      {"step_seconds", to_json(profile.one_rank.step)},
                      {"tflops", profile.one_rank.tflops}}},
                    {"transports", std::move(transports)},
                    {"auto", profile.choice}};
  return all.dump(2) + "\n";
}

std::vector<std::string> byte_faults(const CpProfile& profile) {
  std::vector<std::string> faults;
  for (const TransportProfile& p : profile.transports) {
    for (std::size_t rank = 0; rank < p.planned.size(); ++rank) {
      if (p.planned[rank] == p.counted[rank]) continue;
      faults.push_back(fmt::format("{}: context-parallel rank {} sent {} bytes, its plan has {}", p.transport, rank,
                                   p.counted[rank], p.planned[rank]));
    }
  }
  return faults;
}

}  // namespace ringtron
