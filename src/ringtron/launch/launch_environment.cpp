#include "ringtron/launch/launch_environment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "ringtron/base/error.h"
#include "ringtron/launch/environment_reader.h"
#include "ringtron/launch/node_environment.h"
#include "ringtron/launch/slurm_environment.h"

namespace ringtron {
namespace {

constexpr int kDefaultPort = 29500;  // torchrun's

using Reader = EnvironmentReader;

// RANK and WORLD_SIZE say who this is. What else is missing is `launcher`'s, if it says the same of both, which is so
// after `export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS`.
LaunchEnvironment read_plain(const Reader& env, const LaunchEnvironment* launcher) {
  LaunchEnvironment out = {.launcher = Launcher::torchrun};
  out.rank = env.required("RANK", "WORLD_SIZE");
  out.world_size = env.required("WORLD_SIZE", "RANK");
  std::optional<int> local_rank = env.number("LOCAL_RANK"), local_world_size = env.number("LOCAL_WORLD_SIZE");
  if (launcher != nullptr && launcher->rank == out.rank && launcher->world_size == out.world_size) {
    out = *launcher;
  } else if (out.world_size > 1 && !(local_rank && local_world_size)) {
    throw ConfigError(fmt::format(
        "environment variable {}: expected a number because RANK and WORLD_SIZE are set, got nothing; start "
        "the program through ringrun, torchrun, srun or mpirun; with one rank on each host "
        "set LOCAL_RANK=0 and LOCAL_WORLD_SIZE=1",
        local_rank ? "LOCAL_WORLD_SIZE" : "LOCAL_RANK"));
  }
  out.local_rank = local_rank.value_or(out.local_rank);
  out.local_world_size = local_world_size.value_or(out.local_world_size);
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

bool on_one_node(const LaunchEnvironment& out) { return out.local_world_size == out.world_size; }

std::string default_address(const Reader& env, const LaunchEnvironment& out) {
  if (on_one_node(out)) return "127.0.0.1";
  if (out.launcher == Launcher::slurm) {
    if (std::string first = slurm_master_addr(env); !first.empty()) return first;
  }
  throw ConfigError(
      fmt::format("MASTER_ADDR: expected the address of rank 0's node because {} ranks run on several nodes, "
                  "got nothing; set it for all ranks (mpirun -x MASTER_ADDR=HOST)",
                  out.world_size));
}

int default_port(const Reader& env, const LaunchEnvironment& out) {
  if (out.world_size == 1) return 0;
  return out.launcher == Launcher::slurm ? slurm_master_port(env) : kDefaultPort;
}

// Only names that the launcher gives to all ranks alike.
std::string job_token(const Reader& env, Launcher launcher) {
  if (const std::string token = env.first_of({"RINGTRON_JOB_TOKEN"}); !token.empty()) return token;
  switch (launcher) {
    case Launcher::torchrun: {
      const std::string id = env.first_of({"TORCHELASTIC_RUN_ID"});
      if (id.empty() || id == "none") return {};  // "none": torchrun without --rdzv-id
      return fmt::format("torchrun {} {}", id, env.first_of({"TORCHELASTIC_RESTART_COUNT"}));
    }
    case Launcher::open_mpi:
      return env.first_of({"PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"});
    case Launcher::mpich:
      return env.first_of({"PMIX_NAMESPACE", "PMI_JOBID"});
    case Launcher::slurm:
      return slurm_job_token(env);
    case Launcher::alone:
      return {};
  }
  return {};
}

const char* name_of(Launcher launcher) {
  switch (launcher) {
    case Launcher::open_mpi:
      return "Open MPI";
    case Launcher::mpich:
      return "MPICH's mpiexec";
    case Launcher::slurm:
      return "Slurm";
    default:
      return "no launcher";
  }
}

std::string described(const LaunchEnvironment& out) {
  return fmt::format("rank {} of {} by {}", out.rank, out.world_size, name_of(out.launcher));
}

void refuse_difference(const LaunchEnvironment& a, const LaunchEnvironment& b) {
  if (a.rank == b.rank && a.world_size == b.world_size) return;
  throw ConfigError(fmt::format(
      "two launchers have left variables: this is {}, but {}. Unset those of the outer one (env -u NAME), or "
      "set RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE, which count more",
      described(a), described(b)));
}

// Without RANK, variables of its kind may only say what the launcher says.
void check_plain(const Reader& env, const LaunchEnvironment& out) {
  const auto check = [&](const char* name, int value) {
    const std::optional<int> given = env.number(name);
    if (!given || *given == value) return;
    throw ConfigError(
        fmt::format("environment variable {} is {}, but {} is {} and RANK is not set: unset {}, or set RANK, too", name,
                    *given, described(out), value, name));
  };
  check("WORLD_SIZE", out.world_size);
  check("LOCAL_RANK", out.local_rank);
  check("LOCAL_WORLD_SIZE", out.local_world_size);
}

void refuse_nodes_without_ranks(const EnvironmentLookup& lookup) {
  const std::string nodes = nodes_without_ranks(lookup);
  if (nodes.empty()) return;
  throw ConfigError(fmt::format(
      "{} tell of several ranks, but no variable says which this is: start the program through ringrun, which "
      "reads them; for one process alone unset them, or set RANK=0 and WORLD_SIZE=1",
      nodes));
}

bool is_loopback(const std::string& host) { return host == "localhost" || host == "::1" || host.starts_with("127."); }

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

LaunchEnvironment read_outer_launcher(const EnvironmentLookup& lookup) {
  const Reader env(lookup);
  // Hydra is known by MPI_LOCALRANKID, because srun --mpi=pmi2 sets PMI_RANK too.
  const bool open_mpi = env.has("OMPI_COMM_WORLD_RANK"), hydra = env.has("MPI_LOCALRANKID");
  if (!open_mpi && !hydra) {
    if (env.has("SLURM_PROCID")) return read_slurm(env);
    return env.has("PMI_RANK") ? read_mpich(env) : LaunchEnvironment{};
  }
  const LaunchEnvironment out = open_mpi ? read_open_mpi(env) : read_mpich(env);
  if (open_mpi && hydra) refuse_difference(out, read_mpich(env));
  // mpirun starts one daemon for each node, inside a Slurm job through srun: SLURM_PROCID then counts nodes. Several
  // tasks of a step on one node are ranks.
  if (env.has("SLURM_PROCID") && is_step_of_srun(env)) {
    if (const LaunchEnvironment slurm = read_slurm(env); slurm.local_world_size > 1) refuse_difference(out, slurm);
  }
  return out;
}

LaunchEnvironment read_launch_environment(const EnvironmentLookup& lookup) {
  const Reader env(lookup);
  LaunchEnvironment out;
  // ringrun may itself be started by srun or mpirun, so its variables come first.
  const bool whole = env.has("RANK") && env.has("WORLD_SIZE") && env.has("LOCAL_RANK") && env.has("LOCAL_WORLD_SIZE");
  if (whole) {
    out = read_plain(env, nullptr);
  } else {
    const LaunchEnvironment launcher = read_outer_launcher(lookup);
    const bool launched = launcher.launcher != Launcher::alone;
    if (env.has("RANK") || (env.has("WORLD_SIZE") && !launched)) {
      out = read_plain(env, launched ? &launcher : nullptr);
    } else {
      out = launcher;
      if (launched) check_plain(env, out);
      if (out.world_size == 1) refuse_nodes_without_ranks(lookup);
    }
  }
  const std::optional<std::string> address = env.text("MASTER_ADDR");
  out.master_addr = address && !address->empty() ? without_brackets(*address) : default_address(env, out);
  out.master_port = env.number("MASTER_PORT").value_or(default_port(env, out));
  out.job_token = job_token(env, out.launcher);
  check_environment(out);
  if (out.hint.empty() && !on_one_node(out) && is_loopback(out.master_addr)) {
    out.hint = fmt::format(
        "MASTER_ADDR is {}, but the ranks are on several nodes: those of other machines do not reach rank 0",
        out.master_addr);
  }
  return out;
}

std::optional<std::string> process_environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

}  // namespace ringtron
