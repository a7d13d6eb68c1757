#include "ringtron/launch/launch_environment.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "ringtron/base/check.h"
#include "ringtron/base/error.h"
#include "ringtron/base/text.h"

namespace ringtron {
namespace {

constexpr int kDefaultPort = 29500;  // torchrun's
// Slurm ports lie below Linux's range for outgoing connections (32768 and up), where a port may be taken at
// any time.
constexpr int kFirstSlurmPort = 20000;
constexpr int kSlurmPorts = 12000;

int parse_number(const char* name, std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) {
    throw ConfigError(
        fmt::format("environment variable {}: expected a whole number, got \"{}\"; unset it or start the "
                    "program through ringrun",
                    name, excerpt(text)));
  }
  return value;
}

class Reader {
 public:
  explicit Reader(const EnvironmentLookup& lookup) : lookup_(lookup) {}

  bool has(const char* name) const { return lookup_(name).has_value(); }
  std::optional<std::string> text(const char* name) const { return lookup_(name); }

  std::optional<int> number(const char* name) const {
    const std::optional<std::string> value = lookup_(name);
    if (!value) return std::nullopt;
    return parse_number(name, *value);
  }

  int required(const char* name, const char* because) const {
    const std::optional<int> value = number(name);
    if (!value) {
      throw ConfigError(
          fmt::format("environment variable {}: expected a number because {} is set, got nothing; start "
                      "the program through ringrun, torchrun, srun or mpirun, or unset {}",
                      name, because, because));
    }
    return *value;
  }

 private:
  const EnvironmentLookup& lookup_;
};

LaunchEnvironment read_torchrun(const Reader& env) {
  LaunchEnvironment out = {.launcher = Launcher::torchrun};
  out.rank = env.required("RANK", "WORLD_SIZE");
  out.world_size = env.required("WORLD_SIZE", "RANK");
  const bool one_process = out.world_size == 1;
  out.local_rank = one_process ? env.number("LOCAL_RANK").value_or(0) : env.required("LOCAL_RANK", "RANK");
  out.local_world_size =
      one_process ? env.number("LOCAL_WORLD_SIZE").value_or(1) : env.required("LOCAL_WORLD_SIZE", "RANK");
  out.node_rank = env.number("GROUP_RANK").value_or(out.rank / std::max(out.local_world_size, 1));
  return out;
}

LaunchEnvironment read_open_mpi(const Reader& env) {
  LaunchEnvironment out = {.launcher = Launcher::open_mpi};
  out.rank = env.required("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
  out.world_size = env.required("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK");
  out.local_rank = env.required("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_RANK");
  out.local_world_size = env.required("OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_COMM_WORLD_RANK");
  out.node_rank = out.rank / std::max(out.local_world_size, 1);
  return out;
}

LaunchEnvironment read_mpich(const Reader& env) {
  LaunchEnvironment out = {.launcher = Launcher::mpich};
  out.rank = env.required("PMI_RANK", "PMI_SIZE");
  out.world_size = env.required("PMI_SIZE", "PMI_RANK");
  out.local_rank = env.required("MPI_LOCALRANKID", "PMI_RANK");
  out.local_world_size = env.required("MPI_LOCALNRANKS", "PMI_RANK");
  out.node_rank = out.rank / std::max(out.local_world_size, 1);
  return out;
}

// Slurm's run-length form "4(x2),3": the number for node `node`.
int slurm_tasks_on_node(const char* name, const std::string& tasks_per_node, int node) {
  for (const std::string& entry : split(tasks_per_node, ',')) {
    const std::size_t bracket = entry.find("(x");
    int repeat = 1;
    if (bracket != std::string::npos && entry.back() == ')') {
      repeat = parse_number(name, std::string_view(entry).substr(bracket + 2, entry.size() - bracket - 3));
    }
    if (node < repeat) return parse_number(name, std::string_view(entry).substr(0, bracket));
    node -= repeat;
  }
  throw ConfigError(
      fmt::format("environment variable {}: expected an entry for this node, got \"{}\"; start the program "
                  "through srun",
                  name, excerpt(tasks_per_node)));
}

// The variables of the step (srun) count more than those of the whole job.
const char* step_or_job(const Reader& env, const char* step, const char* job) { return env.has(step) ? step : job; }

// Steps that are no srun: the batch script itself and the shell of salloc, which Slurm numbers from the top.
bool is_step_of_srun(const Reader& env) {
  if (env.has("SLURM_STEP_NUM_TASKS")) return true;
  const std::optional<std::string> step =
      env.has("SLURM_STEP_ID") ? env.text("SLURM_STEP_ID") : env.text("SLURM_STEPID");
  return step && !step->starts_with("42949672") && *step != "batch" && *step != "interactive";
}

// Inside a batch script SLURM_PROCID is 0 and SLURM_NTASKS what the job asked for, although there is one process.
std::string forgotten_srun(const Reader& env, const LaunchEnvironment& out) {
  if (out.rank != 0 || out.world_size == 1 || is_step_of_srun(env)) return "";
  return fmt::format(
      "SLURM_NTASKS is {} but this looks like one process of a batch script, not a step of srun (no SLURM_STEP_ID): start "
      "the program with srun, or with ringrun on one node; for a single process unset SLURM_PROCID",
      out.world_size);
}

LaunchEnvironment read_slurm(const Reader& env) {
  LaunchEnvironment out = {.launcher = Launcher::slurm};
  // Without --ntasks a batch script has no SLURM_NTASKS; srun sets it always.
  if (!env.has("SLURM_NTASKS") && !env.has("SLURM_STEP_NUM_TASKS") && env.number("SLURM_PROCID") == 0 &&
      !is_step_of_srun(env)) {
    return {};
  }
  out.rank = env.required("SLURM_PROCID", "SLURM_NTASKS");
  out.world_size = env.required(step_or_job(env, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"), "SLURM_PROCID");
  out.local_rank = env.required("SLURM_LOCALID", "SLURM_PROCID");
  out.node_rank = env.number("SLURM_NODEID").value_or(0);
  const char* tasks = step_or_job(env, "SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE");
  const std::optional<std::string> per_node = env.text(tasks);
  out.local_world_size = per_node ? slurm_tasks_on_node(tasks, *per_node, out.node_rank)
                                  : env.number("SLURM_NTASKS_PER_NODE").value_or(out.world_size);
  out.hint = forgotten_srun(env, out);
  return out;
}

bool on_one_node(const LaunchEnvironment& out) { return out.local_world_size == out.world_size; }

std::string default_address(const Reader& env, const LaunchEnvironment& out) {
  if (on_one_node(out)) return "127.0.0.1";
  if (out.launcher == Launcher::slurm) {
    for (const char* name : {"SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"}) {
      if (const std::optional<std::string> nodes = env.text(name)) return first_slurm_host(*nodes);
    }
  }
  throw ConfigError(
      fmt::format("MASTER_ADDR: expected the address of rank 0's node because {} ranks run on several nodes, "
                  "got nothing; set it for all ranks (mpirun -x MASTER_ADDR=HOST)",
                  out.world_size));
}

int default_port(const Reader& env, const LaunchEnvironment& out) {
  if (out.world_size == 1) return 0;
  if (out.launcher != Launcher::slurm) return kDefaultPort;
  const char* id = env.has("SLURM_JOB_ID") ? "SLURM_JOB_ID" : "SLURM_JOBID";
  // The step is added so that two steps of one job do not meet.
  const int step = is_step_of_srun(env) ? env.number("SLURM_STEP_ID").value_or(0) : 0;
  return kFirstSlurmPort + (env.required(id, "SLURM_PROCID") % kSlurmPorts + step % kSlurmPorts) % kSlurmPorts;
}

// The first of `names` that is set, or nothing.
std::string first_of(const Reader& env, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const std::optional<std::string> value = env.text(name); value && !value->empty()) return *value;
  }
  return {};
}

// Only names that the launcher gives to all ranks alike.
std::string job_token(const Reader& env, Launcher launcher) {
  if (const std::string token = first_of(env, {"RINGTRON_JOB_TOKEN"}); !token.empty()) return token;
  switch (launcher) {
    case Launcher::torchrun: {
      const std::string id = first_of(env, {"TORCHELASTIC_RUN_ID"});
      if (id.empty() || id == "none") return {};  // "none": torchrun without --rdzv-id
      return fmt::format("torchrun {} {}", id, first_of(env, {"TORCHELASTIC_RESTART_COUNT"}));
    }
    case Launcher::open_mpi:
      return first_of(env, {"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"});
    case Launcher::mpich:
      return first_of(env, {"PMIX_NAMESPACE", "PMI_JOBID"});
    case Launcher::slurm:
      return fmt::format("slurm {}.{}", first_of(env, {"SLURM_JOB_ID", "SLURM_JOBID"}),
                         first_of(env, {"SLURM_STEP_ID"}));
    case Launcher::alone:
      return {};
  }
  return {};
}

void check_below(const char* what, int value, const char* bound_name, int bound) {
  if (value >= bound) {
    throw ConfigError(
        fmt::format("launch environment: expected {} below {} {}, got {}; the variables come from different "
                    "launchers, unset the old ones",
                    what, bound_name, bound, value));
  }
}

void check_environment(const LaunchEnvironment& out) {
  check_below("rank", out.rank, "the world size", out.world_size);
  check_below("local rank", out.local_rank, "the local world size", out.local_world_size);
  check_below("local world size", out.local_world_size, "the world size plus 1,", out.world_size + 1);
  check_below("local rank", out.local_rank, "the rank plus 1,", out.rank + 1);
  if (out.master_port > 65535) {
    throw ConfigError(fmt::format("MASTER_PORT: expected 1 to 65535, got {}", out.master_port));
  }
  if (out.world_size > 1 && out.master_port == 0) {
    throw ConfigError("MASTER_PORT: expected 1 to 65535 for several ranks, got 0; give all ranks the same free port");
  }
}

}  // namespace

std::string first_slurm_host(const std::string& node_list) {
  const std::size_t end = node_list.find_first_of("[,");
  std::string host = node_list.substr(0, end);
  std::size_t at = end;
  // A name may hold several brackets ("rack[1-2]node[0-3]"); the first host takes the first number of each.
  while (at != std::string::npos && node_list[at] == '[') {
    const std::size_t close = node_list.find(']', at);
    if (close == std::string::npos) {
      throw ConfigError(fmt::format(
          "Slurm's node list: expected a closing bracket, got \"{}\"; set MASTER_ADDR instead", excerpt(node_list)));
    }
    host += node_list.substr(at + 1, std::min(node_list.find_first_of("-,]", at), close) - at - 1);
    at = node_list.find_first_of("[,", close);
    host += node_list.substr(close + 1, at == std::string::npos ? at : at - close - 1);
  }
  return host;
}

std::string without_brackets(const std::string& host) {
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  return bracketed ? host.substr(1, host.size() - 2) : host;
}

Endpoint split_endpoint(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return {text, ""};
  const bool bracketed = text.front() == '[';
  if (bracketed && text.back() == ']') return {without_brackets(text), ""};
  if (!bracketed && text.find(':') != colon) return {text, ""};  // an IPv6 address alone
  return {without_brackets(text.substr(0, colon)), text.substr(colon + 1)};
}

LaunchEnvironment read_launch_environment(const EnvironmentLookup& lookup) {
  const Reader env(lookup);
  LaunchEnvironment out;
  // ringrun may itself be started by srun or mpirun, so its variables come first. Hydra and Open MPI start
  // their daemons through srun inside a Slurm job: SLURM_PROCID then counts nodes, so they come before Slurm.
  // Hydra is known by MPI_LOCALRANKID, because srun --mpi=pmi2 sets PMI_RANK too.
  if (env.has("RANK") || env.has("WORLD_SIZE")) {
    out = read_torchrun(env);
  } else if (env.has("OMPI_COMM_WORLD_RANK")) {
    out = read_open_mpi(env);
  } else if (env.has("MPI_LOCALRANKID")) {
    out = read_mpich(env);
  } else if (env.has("SLURM_PROCID")) {
    out = read_slurm(env);
  } else if (env.has("PMI_RANK")) {
    out = read_mpich(env);
  }
  const std::optional<std::string> address = env.text("MASTER_ADDR");
  out.master_addr = address && !address->empty() ? without_brackets(*address) : default_address(env, out);
  out.master_port = env.number("MASTER_PORT").value_or(default_port(env, out));
  out.job_token = job_token(env, out.launcher);
  check_environment(out);
  return out;
}

std::optional<std::string> process_environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

}  // namespace ringtron
