#include "benchmarks/context_parallel/peer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <ctime>
#include <limits>

#include <nlohmann/json.hpp>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"

namespace ringtron::benchmark {
namespace {

PeerRate rate_from(const nlohmann::json& record) {
  PeerRate rate;
  rate.heads = {record.at("query_heads").get<std::int64_t>(), record.at("key_value_heads").get<std::int64_t>(),
                record.at("head_size").get<std::int64_t>()};
  rate.tokens = record.at("tokens_per_rank").get<std::int64_t>();
  rate.mode = record.at("mode").get<std::string>();
  rate.tflops = record.at("tflops_per_rank").get<double>();
  if (!std::isfinite(rate.tflops) || rate.tflops <= 0)
    throw ConfigError(fmt::format("expected rates above 0, got {} for {}", rate.tflops, rate.mode));
  return rate;
}

Peer peer_from(const nlohmann::json& all) {
  Peer peer;
  peer.program = all.at("program").get<std::string>();
  peer.device = all.at("device").get<std::string>();
  peer.type = all.at("type").get<std::string>();
  peer.ranks = all.at("ranks").get<int>();
  peer.warmup = all.at("warmup").get<int>();
  peer.repeats = all.at("repeats").get<int>();
  peer.unix_time = all.at("unix_time").get<std::int64_t>();
  for (const nlohmann::json& record : all.at("rates")) peer.rates.push_back(rate_from(record));
  return peer;
}

// One transport's share of the row.
std::string ratio_text(const OwnRates& rates, CpTransport transport, double peer_tflops) {
  const auto found = rates.tflops.find(transport);
  return found == rates.tflops.end() ? " - |" : fmt::format(" {:.2f} |", found->second / peer_tflops);
}

double fastest(const OwnRates& rates) {
  double most = 0;
  for (const auto& [transport, tflops] : rates.tflops) most = std::max(most, tflops);
  return most;
}

}  // namespace

const PeerRate* Peer::best(const Heads& heads, std::int64_t tokens) const {
  const PeerRate* best = nullptr;
  for (const PeerRate& rate : rates) {
    if (rate.heads.name() != heads.name() || rate.tokens != tokens) continue;
    if (best == nullptr || rate.tflops > best->tflops) best = &rate;
  }
  return best;
}

Peer read_peer(const std::string& path) {
  const std::string text = read_file(path);
  Peer peer;
  try {
    peer = peer_from(nlohmann::json::parse(text));
  } catch (const nlohmann::json::exception& error) {
    throw ConfigError(
        fmt::format("--peer: expected what torch_context_parallel.py --output writes, got {}: {}", path, error.what()));
  } catch (const ConfigError& error) {
    throw ConfigError(fmt::format("--peer {}: {}", path, error.what()));
  }
  if (peer.rates.empty())
    throw ConfigError(fmt::format("--peer: {} holds no rate. Its field \"unusable\" says why", path));
  return peer;
}

void check_comparable(const Peer& peer, const Setting& setting) {
  const auto check = [](const char* what, const std::string& theirs, const std::string& ours) {
    if (theirs == ours) return;
    throw ConfigError(
        fmt::format("--peer: expected {} {} as here, got {}. Measure both in one call", what, ours, theirs));
  };
  check("device", peer.device, setting.machine());
  check("ranks", std::to_string(peer.ranks), std::to_string(setting.environment.world_size));
  check("type", peer.type, setting.type == at::kBFloat16 ? "bf16" : "fp32");
  check("--warmup", std::to_string(peer.warmup), std::to_string(setting.options.repeats.warmup));
  check("--repeats", std::to_string(peer.repeats), std::to_string(setting.options.repeats.repeats));
}

void print_against_peer(const Setting& setting, const Peer& peer, const std::vector<OwnRates>& own) {
  const double minutes = static_cast<double>(std::time(nullptr) - peer.unix_time) / 60;
  setting.say(
      fmt::format("\n### Rate per rank ÷ best mode of {} (measured {:.0f} minutes before)\n", peer.program, minutes));
  setting.say(
      "| heads | tokens per rank | its best mode | its TFLOP/s | p2p | all_gather | a2a | our fastest "
      "|\n|---|---|---|---|---|---|---|---|");
  double least = std::numeric_limits<double>::infinity();
  std::size_t compared = 0;
  for (const OwnRates& rates : own) {
    const PeerRate* best = peer.best(rates.heads, rates.tokens);
    std::string row = fmt::format("| {} | {} |", rates.heads.name(), rates.tokens);
    if (best == nullptr) {
      setting.say(row + " none | - | - | - | - | - |");
      continue;
    }
    row += fmt::format(" {} | {:.3g} |", best->mode, best->tflops);
    for (const CpTransport transport : {CpTransport::p2p, CpTransport::all_gather, CpTransport::a2a})
      row += ratio_text(rates, transport, best->tflops);
    const double ratio = fastest(rates) / best->tflops;
    least = std::min(least, ratio);
    ++compared;
    setting.say(row + fmt::format(" {:.2f} |", ratio));
  }
  if (compared == 0) return;
  setting.say(fmt::format("\nleast of our fastest ÷ its best, {} of {} shapes: {:.2f}", compared, own.size(), least));
}

}  // namespace ringtron::benchmark
