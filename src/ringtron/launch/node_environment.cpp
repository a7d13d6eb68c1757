#include "ringtron/launch/node_environment.h"

#include <fmt/format.h>

#include <charconv>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/launch/environment_reader.h"
#include "ringtron/launch/slurm_environment.h"

namespace ringtron {
namespace {

// srun or mpirun has started this launcher as one of its ranks.
NodeEnvironment from_outer_launcher(const EnvironmentReader& env, const LaunchEnvironment& outer) {
  NodeEnvironment out;
  const bool slurm = outer.launcher == Launcher::slurm;
  if (slurm && !is_step_of_srun(env)) {
    const char* name = env.first_set({"SLURM_JOB_NUM_NODES", "SLURM_NNODES"});
    const int nodes = name == nullptr ? 1 : env.required(name, name);
    if (nodes > 1) {
      out.notice = fmt::format(
          "this job has {} nodes, but ringrun was not started by srun and runs on this one alone: "
          "srun --ntasks-per-node=1 ringrun ... uses all",
          nodes);
    }
    return out;
  }
  if (outer.world_size == 1) return out;
  out.source = slurm ? "Slurm" : "mpirun";
  out.nodes = outer.world_size;
  out.node_rank = outer.rank;
  out.sharing = outer.local_world_size;
  if (!slurm) return out;
  out.master_addr = slurm_master_addr(env);
  out.master_port = slurm_master_port(env);
  out.job_token = slurm_job_token(env);
  return out;
}

NodeEnvironment from_skypilot(const EnvironmentReader& env) {
  NodeEnvironment out;
  if (!env.has("SKYPILOT_NODE_RANK")) return out;
  out.source = "SkyPilot";
  out.node_rank = env.required("SKYPILOT_NODE_RANK", "SKYPILOT_NODE_RANK");
  const std::string ips = env.first_of({"SKYPILOT_NODE_IPS"});
  std::vector<std::string> hosts;
  for (const std::string& line : split(ips, '\n')) {
    if (!trim(line).empty()) hosts.emplace_back(trim(line));
  }
  const auto listed = static_cast<int>(hosts.size());
  out.nodes = env.number("SKYPILOT_NUM_NODES").value_or(listed);
  if (listed > 0 && *out.nodes != listed) {
    throw ConfigError(fmt::format(
        "SkyPilot's variables contradict each other: SKYPILOT_NUM_NODES is {}, SKYPILOT_NODE_IPS has {} lines; unset "
        "them and give --nnodes, --node-rank and --master-addr",
        *out.nodes, listed));
  }
  if (listed > 0) out.master_addr = hosts.front();
  out.ranks_per_node = env.number("SKYPILOT_NUM_GPUS_PER_NODE").value_or(0);
  out.job_token = env.first_of({"SKYPILOT_TASK_ID"});
  return out;
}

NodeEnvironment from_indexed_job(const EnvironmentReader& env) {
  NodeEnvironment out;
  out.node_rank = env.number("JOB_COMPLETION_INDEX");
  if (out.node_rank) out.source = "the indexed job (JOB_COMPLETION_INDEX)";
  return out;
}

std::string described(const NodeEnvironment& told) {
  return told.nodes ? fmt::format("{} says node {} of {}", told.source, *told.node_rank, *told.nodes)
                    : fmt::format("{} says node {}", told.source, *told.node_rank);
}

void refuse_difference(const NodeEnvironment& a, const NodeEnvironment& b) {
  const bool counts_differ = a.nodes && b.nodes && *a.nodes != *b.nodes;
  if (!counts_differ && *a.node_rank == *b.node_rank) return;
  throw ConfigError(
      fmt::format("two schedulers have left variables: {}, but {}. Unset those of the outer one, or give --nnodes and "
                  "--node-rank",
                  described(a), described(b)));
}

}  // namespace

NodeEnvironment read_node_environment(const EnvironmentLookup& lookup) {
  const EnvironmentReader env(lookup);
  const NodeEnvironment launched = from_outer_launcher(env, read_outer_launcher(lookup));
  const NodeEnvironment sky = from_skypilot(env), pod = from_indexed_job(env);
  NodeEnvironment out = launched;
  for (const NodeEnvironment* told : {&sky, &pod}) {
    if (told->source.empty()) continue;
    if (out.source.empty()) {
      out = *told;
      out.notice = launched.notice;
    } else {
      refuse_difference(out, *told);
    }
  }
  return out;
}

std::string nodes_without_ranks(const EnvironmentLookup& lookup) {
  const EnvironmentReader env(lookup);
  std::vector<std::string> several;
  for (const char* name : {"PET_NNODES", "PET_NPROC_PER_NODE", "SKYPILOT_NUM_NODES"}) {
    const std::string text = env.first_of({name});
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool whole = error == std::errc() && end == text.data() + text.size();
    if (whole ? value > 1 : text.find(':') != std::string::npos) {
      several.push_back(fmt::format("{}={}", name, excerpt(text)));
    }
  }
  return join(several, ", ");
}

}  // namespace ringtron
