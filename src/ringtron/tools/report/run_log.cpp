#include "ringtron/tools/report/run_log.h"

#include <algorithm>
#include <cmath>

namespace ringtron {

const std::string* RunLog::option(std::string_view name) const {
  const auto found = std::ranges::find(options, name, &std::pair<std::string, std::string>::first);
  return found == options.end() ? nullptr : &found->second;
}

void RunLogBuilder::cut(std::int64_t iteration) {
  const auto behind = log_.steps.upper_bound(iteration);
  const std::int64_t repeated = std::distance(behind, log_.steps.end());
  if (!log_.steps.empty() || !log_.evaluations.empty()) log_.seams.push_back({iteration, repeated});
  log_.steps.erase(behind, log_.steps.end());
  std::erase_if(log_.evaluations, [&](const LoggedEvaluation& e) { return e.iteration > iteration; });
}

void RunLogBuilder::step(std::int64_t iteration, const std::string& time, NamedNumbers numbers) {
  is_first_line_ = last_ == 0 || session_.has_value() || iteration <= last_;
  if (session_) {
    cut(std::min(*session_, iteration - 1));
  } else if (iteration <= last_) {
    cut(iteration - 1);
  }
  session_.reset();
  last_ = iteration;
  if (log_.first_time.empty()) log_.first_time = time;
  if (!time.empty()) log_.last_time = time;
  log_.steps[iteration] = std::move(numbers);
}

void RunLogBuilder::number(std::int64_t iteration, const std::string& name, double value) {
  const auto found = log_.steps.find(iteration);
  if (found == log_.steps.end()) return;
  const auto [entry, is_new] = found->second.emplace(name, value);
  if (!is_new) entry->second = std::max(entry->second, value);  // of several ranks
}

void RunLogBuilder::evaluation(LoggedEvaluation evaluation) {
  std::erase_if(log_.evaluations, [&](const LoggedEvaluation& e) {
    return e.set == evaluation.set && e.iteration == evaluation.iteration;
  });
  log_.evaluations.push_back(std::move(evaluation));
}

RunLogBuilder::Sums& RunLogBuilder::sums_of(const std::string& name) {
  std::vector<Sums>& all = is_first_line_ ? first_sums_ : sums_;
  const auto found = std::ranges::find_if(all, [&](const Sums& s) { return s.sum.name == name; });
  if (found != all.end()) return *found;
  all.push_back({PartMean{name, 0, 0, {}}, 0});
  return all.back();
}

// The time of the last step, once, as one to which parts belong.
void RunLogBuilder::count_step() {
  const auto found = log_.steps.find(last_);
  if (found == log_.steps.end() || counted_step_ == last_) return;
  counted_step_ = last_;
  const auto time = found->second.find("milliseconds_per_iteration");
  if (time == found->second.end() || !std::isfinite(time->second)) return;
  Sums& sums = is_first_line_ ? first_steps_ : steps_;
  sums.sum.most += time->second;
  ++sums.lines;
}

void RunLogBuilder::part(const PartTimes& times) {
  if (longest(times) <= 0) return;
  Sums& sums = sums_of(times.name);
  sums.sum.ranks.resize(std::max(sums.sum.ranks.size(), times.milliseconds.size()));
  for (std::size_t rank = 0; rank < times.milliseconds.size(); ++rank) sums.sum.ranks[rank] += times.milliseconds[rank];
  part_range(times.name, shortest(times), longest(times));
}

void RunLogBuilder::part_range(const std::string& name, double least, double most) {
  if (!std::isfinite(least) || !std::isfinite(most)) return;
  Sums& sums = sums_of(name);
  sums.sum.least += least;
  sums.sum.most += most;
  ++sums.lines;
  count_step();
  number(last_, "part " + name, most);
}

RunLog RunLogBuilder::finish(std::string name) {
  log_.name = std::move(name);
  const Sums& steps = sums_.empty() ? first_steps_ : steps_;
  if (steps.lines > 0) log_.step_milliseconds = steps.sum.most / static_cast<double>(steps.lines);
  for (const Sums& sums : sums_.empty() ? first_sums_ : sums_) {
    PartMean mean = sums.sum;
    const auto lines = static_cast<double>(sums.lines);
    mean.least /= lines;
    mean.most /= lines;
    for (double& time : mean.ranks) time /= lines;
    log_.parts.push_back(std::move(mean));
  }
  std::ranges::stable_sort(log_.evaluations, {}, &LoggedEvaluation::iteration);
  return std::move(log_);
}

}  // namespace ringtron
