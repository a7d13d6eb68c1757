#include "ringtron/launch/slurm_environment.h"

#include <fmt/format.h>

#include <charconv>
#include <numeric>
#include <span>
#include <string_view>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr int kFirstPort = 20000;
constexpr int kPorts = 12000;
constexpr std::size_t kMostHosts = 1'000'000;

// Slurm's run-length form "4(x2),3": 4, 4, 3.
std::vector<int> tasks_per_node(const char* name, const std::string& text) {
  std::vector<int> tasks;
  for (const std::string& entry : split(text, ',')) {
    const std::size_t bracket = entry.find("(x");
    int repeat = 1;
    if (bracket != std::string::npos && entry.back() == ')') {
      repeat = parse_variable(name, std::string_view(entry).substr(bracket + 2, entry.size() - bracket - 3));
    }
    const int count = parse_variable(name, std::string_view(entry).substr(0, bracket));
    if (static_cast<std::size_t>(repeat) > kMostHosts - tasks.size()) repeat = 0;
    tasks.insert(tasks.end(), static_cast<std::size_t>(repeat), count);
  }
  return tasks;
}

// Inside a batch script SLURM_PROCID is 0 and SLURM_NTASKS what the job asked for, although there is one process.
std::string forgotten_srun(const EnvironmentReader& env, const LaunchEnvironment& out) {
  if (out.rank != 0 || out.world_size == 1 || is_step_of_srun(env)) return "";
  return fmt::format(
      "SLURM_NTASKS is {} but this looks like one process of a batch script, not a step of srun (no SLURM_STEP_ID): start "
      "the program with srun, or with ringrun on one node; for a single process unset SLURM_PROCID",
      out.world_size);
}

[[noreturn]] void contradiction(const std::string& what) {
  throw ConfigError(
      fmt::format("Slurm's variables contradict each other: {}. Some are left over from another job or step: start the "
                  "program with srun in a fresh shell (env -u NAME), or set RANK, WORLD_SIZE, LOCAL_RANK and "
                  "LOCAL_WORLD_SIZE, which count more",
                  what));
}

// What srun tells of a step as a whole: tasks, tasks of each node, names of the nodes. Outside of a step the variables
// need not agree: SLURM_NTASKS is what was asked for, the tasks per node what would fit.
void check_step(const EnvironmentReader& env, int world_size, std::span<const int> tasks) {
  const int sum = std::accumulate(tasks.begin(), tasks.end(), 0);
  if (sum != world_size) {
    contradiction(fmt::format("the step has {} tasks, SLURM_STEP_TASKS_PER_NODE gives {}", world_size, sum));
  }
  const std::optional<std::string> list = env.text("SLURM_STEP_NODELIST");
  const std::size_t listed = list ? expand_slurm_nodes(*list).size() : tasks.size();
  if (listed != tasks.size()) {
    contradiction(
        fmt::format("SLURM_STEP_NODELIST names {} nodes, SLURM_STEP_TASKS_PER_NODE {}", listed, tasks.size()));
  }
}

int tasks_on_node(const EnvironmentReader& env, const LaunchEnvironment& out) {
  const bool step = env.has("SLURM_STEP_TASKS_PER_NODE");
  const char* name = step ? "SLURM_STEP_TASKS_PER_NODE" : "SLURM_TASKS_PER_NODE";
  const std::optional<std::string> text = env.text(name);
  if (!text) return env.number("SLURM_NTASKS_PER_NODE").value_or(out.world_size);
  const std::vector<int> tasks = tasks_per_node(name, *text);
  if (static_cast<std::size_t>(out.node_rank) >= tasks.size()) {
    contradiction(fmt::format("SLURM_NODEID is {}, {} has {} nodes", out.node_rank, name, tasks.size()));
  }
  if (step) check_step(env, out.world_size, tasks);
  return tasks[static_cast<std::size_t>(out.node_rank)];
}

void check_jobs(const EnvironmentReader& env) {
  const std::string a = env.first_of({"SLURM_JOB_ID"}), b = env.first_of({"SLURM_JOBID"});
  if (!a.empty() && !b.empty() && a != b) {
    contradiction(fmt::format("SLURM_JOB_ID is {}, SLURM_JOBID {}", excerpt(a), excerpt(b)));
  }
}

[[noreturn]] void bad_list(const std::string& node_list, const char* expected) {
  throw ConfigError(
      fmt::format("Slurm's node list: expected {}, got \"{}\"; set MASTER_ADDR instead", expected, excerpt(node_list)));
}

// One range, "01-03" or "7", of a bracket.
void expand_range(const std::string& node_list, std::string_view range, std::vector<std::string>& out) {
  const std::size_t dash = range.find('-');
  const std::string_view first = range.substr(0, dash);
  const std::string_view last = dash == std::string_view::npos ? first : range.substr(dash + 1);
  std::uint64_t low = 0, high = 0;
  const auto read = [&](std::string_view text, std::uint64_t& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) bad_list(node_list, "numbers between brackets");
  };
  read(first, low);
  read(last, high);
  if (low > high) bad_list(node_list, "ranges that go up");
  if (high - low >= kMostHosts) bad_list(node_list, "at most a million hosts");
  for (std::uint64_t number = low; number <= high; ++number) {
    out.push_back(fmt::format("{:0>{}}", number, first.size()));
  }
}

// Every host so far with every number of a bracket behind it.
std::vector<std::string> combine(const std::string& node_list, const std::vector<std::string>& hosts,
                                 const std::vector<std::string>& numbers) {
  if (hosts.size() * numbers.size() > kMostHosts) bad_list(node_list, "at most a million hosts");
  std::vector<std::string> out;
  for (const std::string& host : hosts) {
    for (const std::string& number : numbers) out.push_back(host + number);
  }
  return out;
}

}  // namespace

bool is_step_of_srun(const EnvironmentReader& env) {
  if (env.has("SLURM_STEP_NUM_TASKS")) return true;
  const std::optional<std::string> step =
      env.has("SLURM_STEP_ID") ? env.text("SLURM_STEP_ID") : env.text("SLURM_STEPID");
  // Slurm numbers the other kinds of steps from the top.
  return step && !step->starts_with("42949672") && *step != "batch" && *step != "interactive";
}

LaunchEnvironment read_slurm(const EnvironmentReader& env) {
  LaunchEnvironment out = {.launcher = Launcher::slurm};
  // Without --ntasks a batch script has no SLURM_NTASKS; srun sets it always.
  if (!env.has("SLURM_NTASKS") && !env.has("SLURM_STEP_NUM_TASKS") && env.number("SLURM_PROCID") == 0 &&
      !is_step_of_srun(env)) {
    return {};
  }
  check_jobs(env);
  const bool step = env.has("SLURM_STEP_NUM_TASKS");
  out.rank = env.required("SLURM_PROCID", "SLURM_NTASKS");
  out.world_size = env.required(step ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS", "SLURM_PROCID");
  out.local_rank = env.required("SLURM_LOCALID", "SLURM_PROCID");
  out.node_rank = env.number("SLURM_NODEID").value_or(0);
  out.local_world_size = tasks_on_node(env, out);
  out.hint = forgotten_srun(env, out);
  return out;
}

std::string slurm_master_addr(const EnvironmentReader& env) {
  const std::string list = env.first_of({"SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"});
  return list.empty() ? list : expand_slurm_nodes(list).front();
}

int slurm_master_port(const EnvironmentReader& env) {
  const char* id = env.has("SLURM_JOB_ID") ? "SLURM_JOB_ID" : "SLURM_JOBID";
  const int step = is_step_of_srun(env) ? env.number("SLURM_STEP_ID").value_or(0) : 0;
  return kFirstPort + (env.required(id, "SLURM_PROCID") % kPorts + step % kPorts) % kPorts;
}

std::string slurm_job_token(const EnvironmentReader& env) {
  return fmt::format("slurm {}.{}", env.first_of({"SLURM_JOB_ID", "SLURM_JOBID"}),
                     env.first_of({"SLURM_STEP_ID", "SLURM_STEPID"}));
}

std::vector<std::string> expand_slurm_nodes(const std::string& node_list) {
  std::vector<std::string> all, hosts = {""};
  std::size_t at = 0;
  for (;;) {
    const std::size_t next = std::min(node_list.find_first_of("[,", at), node_list.size());
    for (std::string& host : hosts) host += node_list.substr(at, next - at);
    at = next;
    if (at < node_list.size() && node_list[at] == '[') {
      const std::size_t close = node_list.find(']', at);
      if (close == std::string::npos) bad_list(node_list, "a closing bracket");
      std::vector<std::string> numbers;
      for (const std::string& range : split(node_list.substr(at + 1, close - at - 1), ',')) {
        expand_range(node_list, range, numbers);
      }
      hosts = combine(node_list, hosts, numbers);
      at = close + 1;
      continue;
    }
    if (hosts.front().empty()) bad_list(node_list, "names of hosts");
    all.insert(all.end(), hosts.begin(), hosts.end());
    if (all.size() > kMostHosts) bad_list(node_list, "at most a million hosts");
    if (at >= node_list.size()) return all;
    ++at;
    hosts = {""};
  }
}

}  // namespace ringtron
