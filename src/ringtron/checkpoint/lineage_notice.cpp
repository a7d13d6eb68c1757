#include "ringtron/checkpoint/lineage_notice.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/file.h"
#include "ringtron/base/text.h"
#include "ringtron/checkpoint/checkpoint_names.h"

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
  for (const auto& [run, iterations] : by_run)
    parts.push_back(fmt::format("{} {}", join(iterations, ", "), run_text(run)));
  return join(parts, "; ");
}

}  // namespace

std::string load_notice(const std::filesystem::path& load_folder, const CheckpointSearch& search, FolderUse use) {
  if (search.others.empty()) return "";
  const CheckpointCandidate& loaded = *search.newest;
  const bool load = use == FolderUse::load;
  return fmt::format(
      "{} holds checkpoints of several branches or runs: {} iteration {} {}, whose line was saved last; of an abandoned "
      "branch or another run are iterations {}. {}",
      load_folder.string(), load ? "this run goes on from" : "shown is", loaded.iteration,
      run_text(loaded.lineage->run), listing(search.others),
      load ? "--ckpt-step names another one to go on from" : "Another one is shown by its folder, iter_...");
}

std::string tracker_notice(const std::filesystem::path& load_folder, const CheckpointSearch& search, FolderUse use) {
  const std::filesystem::path file = load_folder / kTrackerName;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) return "";
  std::string text;
  try {
    text = std::string(trim(read_file(file)));
  } catch (const IoError& e) {
    return fmt::format("{}; it does not count here", e.what());
  }
  const std::int64_t taken = search.newest->iteration;
  const auto is_named = [&text](std::int64_t iteration) { return text == fmt::format("{}", iteration); };
  const auto are_damaged = [&](const std::vector<CheckpointCandidate>& all) {
    return std::ranges::any_of(all, [&](const CheckpointCandidate& one) { return is_named(one.iteration); });
  };
  if (is_named(taken) || are_damaged(search.damaged) || are_damaged(search.unplaced)) return "";
  const std::string end = use == FolderUse::load ? fmt::format("going on from {}, the last saved", taken)
                                                 : fmt::format("shown is {}, the last saved", taken);
  const std::vector<std::int64_t> all = list_iterations(load_folder);
  if (std::ranges::any_of(all, is_named)) {
    return fmt::format("{} names iteration {}; it does not count here: {}.{}", file.string(), text, end,
                       use == FolderUse::load ? fmt::format(" --ckpt-step {} goes back", text) : "");
  }
  const bool number = !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
  return fmt::format("{} {}; {}", file.string(),
                     number ? fmt::format("names iteration {}, of which there is no checkpoint", excerpt(text, 40))
                            : fmt::format("holds \"{}\", which is no iteration", excerpt(text, 40)),
                     end);
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
  return fmt::format(
      "--save {} holds checkpoints that this run does not go on from: iterations {}. Those whose iteration is saved "
      "again will be replaced{}, the others stay; a later --load takes what was saved last",
      save_folder.string(), others, unknown.empty() ? "" : " (what is not of Ringtron is moved aside and kept)");
}

}  // namespace ringtron
