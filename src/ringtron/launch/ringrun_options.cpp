#include "ringtron/launch/ringrun_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "ringtron/base/error.h"
#include "ringtron/base/keyed_hash.h"
#include "ringtron/base/text.h"
#include "ringtron/launch/core_share.h"
#include "ringtron/launch/local_machine.h"
#include "ringtron/launch/node_environment.h"

namespace ringtron {
namespace {

enum class Kind { value, flag, refused };

struct RingrunOption {
  const char* name;
  Kind kind;
  const char* value;  // its form; for a refused option empty
  const char* help;   // for a refused option: why, and what to use
};

constexpr std::array kOptions = {
    RingrunOption{"--nproc-per-node", Kind::value, "N",
                  "ranks on this node: a number, cpu, gpu or auto (default: the scheduler's, else 1)"},
    RingrunOption{"--nnodes", Kind::value, "N", "number of nodes (default: the scheduler's, else 1)"},
    RingrunOption{"--node-rank", Kind::value, "N", "which node this is, from 0 (default: the scheduler's)"},
    RingrunOption{"--master-addr", Kind::value, "HOST",
                  "several nodes: address of node 0 (default: MASTER_ADDR, else the scheduler's)"},
    RingrunOption{"--master-port", Kind::value, "PORT",
                  "port of rank 0 (default: a free one on one node; on several MASTER_PORT, the scheduler's or 29500)"},
    RingrunOption{"--no-prefix", Kind::flag, "", "pass lines on without \"[rank N] \""},
    RingrunOption{"--stop-grace", Kind::value, "SECONDS", "time to save and end after SIGTERM or Ctrl-C (default 30)"},
    RingrunOption{"--help", Kind::flag, "", "this text"},
    RingrunOption{"--standalone", Kind::flag, "", "one node, whatever the scheduler says"},
    RingrunOption{"--no-python", Kind::flag, "", "accepted; programs are never Python scripts"},
    RingrunOption{"--rdzv-endpoint", Kind::value, "HOST:PORT", "the same as --master-addr and --master-port"},
    RingrunOption{"--rdzv-id", Kind::value, "ID",
                  "several nodes: the run's token, without RINGTRON_JOB_TOKEN; ranks with another are refused"},
    RingrunOption{"--rdzv-backend", Kind::value, "NAME",
                  "only static: the nodes are those of --nnodes and --node-rank"},
    RingrunOption{"--max-restarts", Kind::value, "N",
                  "only 0: a failed run is resumed from its checkpoint by the user"},
    RingrunOption{"--rdzv-conf", Kind::refused, "", "there is no dynamic rendezvous; leave it out"},
    RingrunOption{"--module", Kind::refused, "", "programs are not Python modules; give the program itself"},
    RingrunOption{"--log-dir", Kind::refused, "", "redirect ringrun's own output: each line names its rank"},
    RingrunOption{"--redirects", Kind::refused, "", "redirect ringrun's own output: each line names its rank"},
    RingrunOption{"--tee", Kind::refused, "", "all output is shown; pipe ringrun into tee to keep it"},
    RingrunOption{"--start-method", Kind::refused, "", "programs are always started anew; leave it out"},
};

// The words of the command line sorted into options and program, with everything found wrong on the way.
struct Words {
  std::map<std::string, std::string> given;
  std::vector<std::string> program;
  std::vector<std::string> faults;
};

const RingrunOption* find_option(const std::string& name) {
  const auto* found = std::ranges::find_if(kOptions, [&](const RingrunOption& option) { return name == option.name; });
  return found == kOptions.end() ? nullptr : &*found;
}

std::string unknown_option(const std::string& name) {
  std::vector<std::string> known;
  for (const RingrunOption& option : kOptions) known.emplace_back(option.name);
  const std::vector<std::string> near = nearest_names(name, known);
  return fmt::format("unknown option {}{}", name,
                     near.empty() ? "; see ringrun --help" : "; did you mean " + join(near, " or ") + "?");
}

Words sort_words(std::span<const std::string> arguments) {
  Words words;
  std::size_t at = 0;
  for (; at < arguments.size() && arguments[at].starts_with("-"); ++at) {
    if (arguments[at] == "--") {
      ++at;
      break;
    }
    const std::size_t equals = arguments[at].find('=');
    std::string name = arguments[at].substr(0, equals);
    std::ranges::replace(name, '_', '-');
    if (name == "-h") name = "--help";
    const RingrunOption* option = find_option(name);
    if (option == nullptr) {
      words.faults.push_back(unknown_option(name));
    } else if (option->kind == Kind::refused) {
      words.faults.push_back(fmt::format("{} is not supported: {}", name, option->help));
    } else if (option->kind == Kind::flag) {
      if (equals != std::string::npos) words.faults.push_back(fmt::format("{} takes no value", name));
      words.given[name] = "";
    } else if (equals != std::string::npos) {
      words.given[name] = arguments[at].substr(equals + 1);
    } else if (at + 1 < arguments.size()) {
      words.given[name] = arguments[++at];
    } else {
      words.faults.push_back(fmt::format("{}: expected {}, got nothing", name, option->value));
    }
    // The words behind an option that is not ours may be its value, so no program can be read from them.
    if (option == nullptr || option->kind == Kind::refused) return words;
  }
  words.program.assign(arguments.begin() + static_cast<std::ptrdiff_t>(at), arguments.end());
  if (words.program.empty()) words.faults.push_back("expected a program to start, got none");
  return words;
}

class Builder {
 public:
  Builder(Words words, const EnvironmentLookup& env) : words_(std::move(words)), env_(env) {}

  RingrunCommandLine build() {
    SupervisorOptions& options = line_.options;
    if (!has("--standalone")) take_variables();
    set_nodes();
    options.ranks_per_node = ranks_per_node();
    options.stop_grace = std::chrono::seconds(number("--stop-grace", 30, 0, 1'000'000));
    options.prefix_lines = !has("--no-prefix");
    set_address();
    check_accepted();
    set_threads();
    set_token();
    find();
    if (!words_.faults.empty()) throw ConfigError(join(words_.faults, "\n  ") + "\n  see ringrun --help");
    if (options.nodes == 1 && options.master_port == 0) options.master_port = free_port();
    return std::move(line_);
  }

 private:
  bool has(const char* name) const { return words_.given.contains(name); }
  std::string text(const char* name) const { return words_.given.at(name); }
  void fault(std::string sentence) { words_.faults.push_back(std::move(sentence)); }

  static std::optional<int> whole_number(const std::string& text) {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
    return value;
  }

  int number(const char* name, int fallback, int least, int most) {
    if (!has(name)) return fallback;
    const std::optional<int> value = whole_number(text(name));
    if (value && *value >= least && *value <= most) return *value;
    fault(fmt::format("{}: expected a whole number from {} to {}, got \"{}\"", label(name), least, most,
                      excerpt(text(name))));
    return fallback;
  }

  // "--node-rank" -> "PET_NODE_RANK", torchrun's variable for the same.
  static std::string variable_of(std::string_view name) {
    std::string out = "PET_";
    for (const char c : name.substr(2)) out += c == '-' ? '_' : static_cast<char>(std::toupper(c));
    return out;
  }

  // What the user, or the scheduler, calls it.
  std::string label(const char* name) const { return from_variable_.contains(name) ? variable_of(name) : name; }

  // torchrun's options are variables as well, which Kubeflow sets. Those of the command line count more.
  void take_variables() {
    for (const char* name : {"--nproc-per-node", "--nnodes", "--node-rank", "--master-addr", "--master-port",
                             "--rdzv-endpoint", "--rdzv-id"}) {
      std::string value = env_(variable_of(name).c_str()).value_or("");
      if (value.empty() || (std::string_view(name).starts_with("--master") && has("--rdzv-endpoint"))) continue;
      const std::size_t colon = value.find(':');  // "2:2": at least 2 nodes, at most 2
      const bool nodes = std::string_view(name) == "--nnodes";
      if (nodes && value.substr(0, colon) == value.substr(colon + 1)) value.resize(std::min(colon, value.size()));
      if (nodes && has(name) && text(name) != value && !has("--node-rank") && env_("PET_NODE_RANK")) {
        fault(fmt::format("--nnodes is {}, but PET_NNODES {}: give --node-rank as well, or unset the PET_ variables",
                          excerpt(text(name)), excerpt(value)));
      }
      if (words_.given.try_emplace(name, value).second) from_variable_.insert(name);
    }
  }

  // Number and rank of the node from the command line, or what is missing there from the scheduler.
  void set_nodes() {
    SupervisorOptions& options = line_.options;
    const bool whole = has("--nnodes") && has("--node-rank");
    try {
      if (!has("--standalone")) told_ = read_node_environment(env_);
    } catch (const ConfigError& e) {
      if (!whole) fault(e.what());
    }
    if (whole) told_ = {.sharing = told_.sharing};
    options.nodes = number("--nnodes", told_.nodes.value_or(1), 1, 1'000'000);
    if (has("--nnodes") && told_.nodes.value_or(options.nodes) != options.nodes) {
      fault(fmt::format("{} is {}, but {} has started ringrun on {} nodes: leave {} out, or give --node-rank as well",
                        label("--nnodes"), options.nodes, told_.source, *told_.nodes, label("--nnodes")));
    }
    options.node_rank =
        number("--node-rank", options.nodes > 1 ? told_.node_rank.value_or(0) : 0, 0, options.nodes - 1);
    if (told_.sharing > 1) {
      fault(fmt::format(
          "{} ringrun of one step share this node, each of which would start all of its ranks: start one for each node "
          "(srun --ntasks-per-node=1, mpirun --map-by ppr:1:node), or the program itself, without "
          "ringrun; --standalone makes them runs of their own",
          told_.sharing));
    } else if (options.node_rank >= options.nodes) {
      fault(fmt::format("{} has number {} for this node, but there are {}: give --nnodes and --node-rank", told_.source,
                        options.node_rank, options.nodes));
    }
    if (!told_.notice.empty()) options.notices.push_back(told_.notice);
  }

  int ranks_per_node() {
    const char* name = "--nproc-per-node";
    if (!has(name)) return std::max(told_.ranks_per_node, 1);
    const std::string wanted = text(name);
    if (wanted == "cpu") return usable_cores();
    if (wanted == "gpu" || wanted == "auto") {
      const int gpus = usable_gpus(env_);
      if (gpus > 0) return gpus;
      if (wanted == "auto") return usable_cores();
      fault("--nproc-per-node gpu: expected at least one GPU, found none; use a number or cpu");
      return 1;
    }
    return number(name, 1, 1, 100'000);
  }

  void set_address() {
    SupervisorOptions& options = line_.options;
    std::string port = has("--master-port") ? text("--master-port") : "";
    if (has("--master-addr")) options.master_addr = text("--master-addr");
    if (has("--rdzv-endpoint") && !has("--master-addr")) {
      const Endpoint endpoint = split_endpoint(text("--rdzv-endpoint"));
      options.master_addr = endpoint.host;
      if (port.empty()) port = endpoint.port;
    }
    if (options.master_addr.empty())
      fault("--master-addr, --rdzv-endpoint: expected a host, got nothing before the port");
    if (options.nodes > 1 && !has("--master-addr") && !has("--rdzv-endpoint")) options.master_addr = default_address();
    options.master_addr = without_brackets(options.master_addr);
    if (options.nodes > 1 && port.empty()) port = env_("MASTER_PORT").value_or("");
    if (!port.empty()) words_.given["--master-port"] = port;
    const int default_port = told_.master_port > 0 ? told_.master_port : 29500;
    options.master_port =
        number("--master-port", options.nodes > 1 ? default_port : 0, options.nodes > 1 ? 1 : 0, 65535);
    if (options.nodes == 1) return;
    if (!has("--node-rank") && !told_.node_rank) {
      fault(fmt::format("--node-rank: needed because --nnodes is {} and no scheduler's variable tells", options.nodes));
    }
    if (has("--standalone")) fault("--standalone means one node; leave it or --nnodes out");
    if (told_.source.empty()) return;
    options.notices.push_back(fmt::format("{}: this is node {} of {}; rank 0 listens at {}, port {}", told_.source,
                                          options.node_rank, options.nodes, options.master_addr, options.master_port));
  }

  // On several nodes.
  std::string default_address() {
    if (const std::string given = env_("MASTER_ADDR").value_or(""); !given.empty()) return given;
    if (told_.master_addr.empty()) {
      fault(fmt::format("--master-addr: needed because there are {} nodes; give the address of node 0",
                        line_.options.nodes));
    }
    return told_.master_addr;
  }

  void check_accepted() {
    if (has("--rdzv-backend") && text("--rdzv-backend") != "static") {
      fault(
          fmt::format("--rdzv-backend {}: expected static; the nodes are those of --nnodes, --node-rank and "
                      "--master-addr",
                      text("--rdzv-backend")));
    }
    if (has("--max-restarts") && text("--max-restarts") != "0") {
      fault("--max-restarts: expected 0; start the same command again, it resumes from the last checkpoint");
    }
  }

  void set_threads() {
    if (threads_are_set(env_)) return;
    const int cores = usable_cores();
    const int threads = std::max(1, cores / line_.options.ranks_per_node);
    line_.options.environment.emplace_back("OMP_NUM_THREADS", std::to_string(threads));
    line_.options.notices.push_back(fmt::format("OMP_NUM_THREADS is not set: each of {} ranks gets {} of {} cores",
                                                line_.options.ranks_per_node, threads, cores));
  }

  // Each node has a ringrun of its own, so several cannot draw a token; theirs is what all of them are given.
  void set_token() {
    EnvironmentChanges& changes = line_.options.environment;
    if (line_.options.nodes == 1) {
      changes.emplace_back("RINGTRON_JOB_TOKEN", hex(random_bytes(16)));
    } else if (env_("RINGTRON_JOB_TOKEN")) {
      return;  // the ranks inherit it
    } else if (has("--rdzv-id")) {
      changes.emplace_back("RINGTRON_JOB_TOKEN", text("--rdzv-id"));
    } else if (!told_.job_token.empty()) {
      changes.emplace_back("RINGTRON_JOB_TOKEN", told_.job_token);
    } else if (const auto step = env_("SLURM_STEP_ID")) {  // set where srun has started us, then on all nodes
      changes.emplace_back("RINGTRON_JOB_TOKEN", fmt::format("slurm {}.{}", env_("SLURM_JOB_ID").value_or(""), *step));
    }
  }

  void find() {
    if (words_.program.empty()) return;
    try {
      line_.command.program = find_program(words_.program.front(), env_);
    } catch (const ConfigError& e) {
      fault(e.what());
    }
    line_.command.arguments.assign(words_.program.begin() + 1, words_.program.end());
  }

  Words words_;
  const EnvironmentLookup& env_;
  NodeEnvironment told_;                 // by the scheduler
  std::set<std::string> from_variable_;  // options that the command line does not have
  RingrunCommandLine line_;
};

}  // namespace

RingrunCommandLine parse_ringrun(std::span<const std::string> arguments, const EnvironmentLookup& env) {
  Words words = sort_words(arguments);
  if (words.given.contains("--help")) {
    RingrunCommandLine line;
    line.help = true;
    return line;
  }
  return Builder(std::move(words), env).build();
}

std::string ringrun_help() {
  std::string text =
      "ringrun [options] PROGRAM [arguments of the program]\n\n"
      "Starts the program once for each rank of this node and watches it. A program name without a slash is "
      "looked for\n"
      "beside ringrun, then in PATH. When a rank fails, the others are ended and the first one that failed "
      "is named;\n"
      "its exit code is ringrun's (128 + N for signal N).\n\n"
      "  ringrun --nproc-per-node 4 pretrain_gpt --tensor-model-parallel-size 4 ...\n\n"
      "Options, each also with _ for -:\n";
  for (const RingrunOption& option : kOptions) {
    if (option.kind == Kind::refused) continue;
    text += fmt::format("  {:<28}{}\n", fmt::format("{} {}", option.name, option.value), option.help);
  }
  return text;
}

}  // namespace ringtron
