#include "ringtron/launch/hang_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string_view>

#include "ringtron/base/text.h"
#include "ringtron/launch/stderr_tail.h"

namespace ringtron {
namespace {

// What stands between `begin` and `end`; empty if either is missing.
std::string_view between(std::string_view text, std::string_view begin, std::string_view end) {
  const std::size_t from = text.find(begin);
  if (from == std::string_view::npos) return {};
  text.remove_prefix(from + begin.size());
  const std::size_t to = text.find(end);
  return to == std::string_view::npos ? std::string_view() : text.substr(0, to);
}

// The numbers at the beginning of `text`: "1, 3 never came" -> 1, 3.
std::vector<int> numbers(std::string_view text) {
  std::vector<int> out;
  std::size_t at = 0;
  while (at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0) {
    int value = 0;
    for (; at < text.size() && std::isdigit(static_cast<unsigned char>(text[at])) != 0; ++at)
      value = value * 10 + (text[at] - '0');
    out.push_back(value);
    while (at < text.size() && (text[at] == ',' || text[at] == ' ')) ++at;
  }
  return out;
}

std::vector<int> numbers_behind(std::string_view text, std::string_view mark) {
  const std::size_t at = text.find(mark);
  return at == std::string_view::npos ? std::vector<int>() : numbers(text.substr(at + mark.size()));
}

// The fields of a process's stat from its state on: state, parent, group, ... Empty if it is gone.
std::vector<std::string> stat_fields(const std::filesystem::path& path) {
  std::ifstream in(path);
  const std::string stat{std::istreambuf_iterator<char>(in), {}};
  const std::size_t name_end = stat.rfind(") ");
  if (name_end == std::string::npos || name_end + 2 >= stat.size()) return {};
  return split(std::string_view(stat).substr(name_end + 2), ' ');
}

std::string how_it_is(const SilentRank& rank) {
  if (rank.stopped)
    return fmt::format("it is stopped (SIGSTOP, Ctrl-Z or a debugger; kill -CONT {} would have let it go on)",
                       rank.pid);
  switch (rank.state) {
    case 'R':
      return "it is alive and computes";
    case 'D':
      return "it is alive and hangs in the kernel (state D: a disk, a network file system or a device)";
    default:
      return "it is alive and waits for something other than its peers";
  }
}

bool waits_for(const ReportedWait& wait, int rank) {
  return std::ranges::find(wait.waited_for, rank) != wait.waited_for.end();
}

// A stopped rank for certain; otherwise whom most of those that waited mean, if at least `votes_needed` do.
const SilentRank* most_meant(std::span<const ReportedWait> waits, std::span<const SilentRank> silent,
                             long votes_needed) {
  const SilentRank* best = nullptr;
  long best_votes = votes_needed - 1;
  for (const SilentRank& rank : silent) {
    const long votes = (rank.stopped ? 1'000'000 : 0) +
                       std::ranges::count_if(waits, [&](const ReportedWait& w) { return waits_for(w, rank.rank); });
    if (votes > best_votes) best = &rank;
    best_votes = std::max(best_votes, votes);
  }
  return best;
}

}  // namespace

char process_state(int pid) {
  const std::vector<std::string> fields = stat_fields(fmt::format("/proc/{}/stat", pid));
  return fields.empty() ? '?' : fields[0][0];
}

bool group_is_stopped(int group) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    if (std::isdigit(static_cast<unsigned char>(entry.path().filename().string()[0])) == 0) continue;
    const std::vector<std::string> fields = stat_fields(entry.path() / "stat");
    if (fields.size() > 2 && fields[2] == std::to_string(group) && (fields[0] == "T" || fields[0] == "t")) return true;
  }
  return false;
}

ReportedWait read_wait(const RankFailure& failure) {
  std::string_view text = failure.words;
  const std::size_t mark = text.find(kCommErrorMark);
  if (mark != std::string_view::npos) text.remove_prefix(mark + kCommErrorMark.size());
  ReportedWait wait;
  const std::string_view group = text.substr(0, std::min(text.size(), text.find(" group (ranks ")));
  const std::string_view members = between(text, " group (ranks ", ")");
  const std::string_view operation = between(text, "): ", " failed on rank");
  if (!members.empty() && !operation.empty()) {
    wait.operation = fmt::format("{} of the {} group (ranks {})", operation, group, members);
  } else if (text.starts_with("rendezvous")) {
    wait.operation = "the meeting of all ranks at the start";
  }
  for (const char* means : {", waiting for rank ", "rank(s) ", "the store of rank ", "expected rank "}) {
    wait.waited_for = numbers_behind(text, means);
    if (!wait.waited_for.empty()) break;
  }
  if (wait.waited_for.empty()) wait.waited_for = numbers(members);
  std::erase(wait.waited_for, failure.rank);
  return wait;
}

std::optional<std::string> describe_hang(std::span<const RankFailure> waited, std::span<const SilentRank> silent,
                                         const HangContext& context) {
  std::vector<ReportedWait> waits;
  for (const RankFailure& failure : waited) waits.push_back(read_wait(failure));
  const SilentRank* frozen = most_meant(waits, silent, context.other_nodes ? 1 : 0);
  if (frozen == nullptr) return std::nullopt;
  std::map<std::string, std::vector<int>> places;  // operation -> who waited there
  std::vector<int> others;                         // that waited elsewhere, for ranks that waited
  for (std::size_t i = 0; i < waits.size(); ++i) {
    if (waits_for(waits[i], frozen->rank) && !waits[i].operation.empty()) {
      places[waits[i].operation].push_back(waited[i].rank);
    } else {
      others.push_back(waited[i].rank);
    }
  }
  std::vector<std::string> parts;
  std::ranges::sort(others);
  for (auto& [operation, ranks] : places) {
    std::ranges::sort(ranks);
    parts.push_back(fmt::format("{} {} waited for it in {}", ranks.size() == 1 ? "rank" : "ranks",
                                fmt::join(ranks, ", "), operation));
  }
  if (!others.empty() && !places.empty()) {
    parts.push_back(fmt::format("{} {} waited for ranks that waited", others.size() == 1 ? "rank" : "ranks",
                                fmt::join(others, ", ")));
  } else if (!others.empty()) {
    parts.push_back(
        fmt::format("{} {} waited in vain", others.size() == 1 ? "rank" : "ranks", fmt::join(others, ", ")));
  }
  std::string text =
      fmt::format("rank {} (pid {}) froze: {}; {}", frozen->rank, frozen->pid, how_it_is(*frozen), join(parts, "; "));
  if (context.other_nodes && !frozen->stopped)
    text += "; it may have waited for a rank of another node: see what that node's ringrun says";
  if (!context.log.empty()) text += fmt::format("; the log stood at \"{}\"", context.log);
  return text;
}

}  // namespace ringtron
