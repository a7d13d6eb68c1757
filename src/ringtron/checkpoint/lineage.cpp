#include "ringtron/checkpoint/lineage.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <random>

#include "ringtron/base/error.h"
#include "ringtron/base/hash.h"
#include "ringtron/base/process.h"
#include "ringtron/checkpoint/strict_json.h"

namespace ringtron {
namespace {

constexpr const char* kMember = "lineage";
constexpr std::size_t kMostAncestors = 1000;

std::string run_member(const nlohmann::json& value, const std::string& where) {
  const std::string run = text_member(value, "run", where);
  const bool hex =
      std::all_of(run.begin(), run.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (!hex || (run.size() != 16 && !run.empty())) {
    throw IoError(fmt::format("{}.run: expected 16 hex digits, got {}", where, shown(run)));
  }
  return run;
}

}  // namespace

bool Lineage::has_all_ancestors() const {
  return ancestors.size() < kMostAncestors &&
         std::none_of(
             ancestors.begin(), ancestors.end(), [](const Ancestor& ancestor) { return ancestor.run.empty(); });
}

bool Lineage::includes(std::int64_t iteration, const std::string& other_run, std::int64_t other_iteration) const {
  if (other_run == run && other_iteration <= iteration) return true;
  return std::any_of(ancestors.begin(), ancestors.end(), [&](const Ancestor& ancestor) {
    return ancestor.run == other_run && other_iteration <= ancestor.iteration;
  });
}

std::string new_run_name() {
  std::random_device device;
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return hex64(hash64(fmt::format("{} {} {} {} {}", host_name(), ::getpid(), now, device(), device())));
}

std::vector<Ancestor> line_through(const Lineage& loaded, std::int64_t iteration) {
  std::vector<Ancestor> line = loaded.ancestors;
  line.push_back({loaded.run, iteration});
  if (line.size() > kMostAncestors) line.erase(line.begin(), line.end() - kMostAncestors);
  return line;
}

nlohmann::json lineage_to_json(const Lineage& lineage) {
  nlohmann::json ancestors = nlohmann::json::array();
  for (const Ancestor& ancestor : lineage.ancestors) {
    ancestors.push_back({{"run", ancestor.run}, {"iteration", ancestor.iteration}});
  }
  return {{"run", lineage.run}, {"save", lineage.save}, {"ancestors", std::move(ancestors)}};
}

Lineage lineage_of_metadata(const nlohmann::json& metadata) {
  Lineage lineage;
  if (!metadata.is_object() || !metadata.contains(kMember)) return lineage;
  const std::string where = std::string("metadata.") + kMember;
  const nlohmann::json& value = object_member(metadata, kMember, "metadata");
  lineage.run = run_member(value, where);
  lineage.save = count_member(value, "save", where);
  if (lineage.run.empty() || lineage.save == 0) throw IoError(where + ": a lineage has a run, and saves count from 1");
  const nlohmann::json& ancestors = array_member(value, "ancestors", where);
  for (std::size_t i = 0; i < ancestors.size(); ++i) {
    const std::string at = fmt::format("{}.ancestors[{}]", where, i);
    lineage.ancestors.push_back({run_member(ancestors[i], at), count_member(ancestors[i], "iteration", at)});
  }
  return lineage;
}

}  // namespace ringtron
