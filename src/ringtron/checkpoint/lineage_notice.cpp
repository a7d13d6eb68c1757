#include "ringtron/checkpoint/lineage_notice.h"

#include <fmt/format.h>

#include <map>
#include <vector>

#include "ringtron/base/text.h"

namespace ringtron {
namespace {

std::string run_text(const std::string& run) { return run.empty() ? "of a run without lineage" : "of run " + run; }

// "4, 6 of run 0123456789abcdef; 8 of run ...", or empty.
std::string listing(std::span<const CheckpointCandidate> candidates) {
  std::map<std::string, std::vector<std::string>> by_run;
  for (const CheckpointCandidate& candidate : candidates) {
    by_run[candidate.lineage->run].push_back(fmt::format("{}", candidate.iteration));
  }
  std::vector<std::string> parts;
  for (const auto& [run, iterations] : by_run) parts.push_back(fmt::format("{} {}", join(iterations, ", "), run_text(run)));
  return join(parts, "; ");
}

}  // namespace

std::string load_notice(const std::filesystem::path& load_folder, const CheckpointSearch& search, FolderUse use) {
  if (search.others.empty()) return "";
  const CheckpointCandidate& loaded = *search.newest;
  const bool load = use == FolderUse::load;
  return fmt::format("{} holds checkpoints of several branches or runs: {} iteration {} {}, whose line was saved last; of an abandoned "
                     "branch or another run are iterations {}. {}",
                     load_folder.string(), load ? "this run goes on from" : "shown is", loaded.iteration,
                     run_text(loaded.lineage->run), listing(search.others),
                     load ? "--ckpt-step names another one to go on from" : "Another one is shown by its folder, iter_...");
}

std::string save_notice(const std::filesystem::path& save_folder, std::span<const Ancestor> line) {
  const Lineage own{"this run", 0, {line.begin(), line.end()}};  // a name that no checkpoint has
  std::vector<CheckpointCandidate> strangers = list_checkpoints(save_folder);
  std::vector<std::string> unknown;
  std::erase_if(strangers, [&](const CheckpointCandidate& c) {
    if (!c.lineage) unknown.push_back(fmt::format("{}", c.iteration));
    return !c.lineage || own.includes(0, c.lineage->run, c.iteration);
  });
  std::string others = listing(strangers);
  if (!unknown.empty()) {
    others += fmt::format("{}{} (damaged, or not of Ringtron)", others.empty() ? "" : "; ", join(unknown, ", "));
  }
  if (others.empty()) return "";
  return fmt::format("--save {} holds checkpoints that this run does not go on from: iterations {}. Those whose iteration is saved "
                     "again will be replaced, the others stay; a later --load takes what was saved last",
                     save_folder.string(), others);
}

}  // namespace ringtron
