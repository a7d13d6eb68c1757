#include "ringtron/tools/verify/verify_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <variant>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/config/parse.h"
#include "ringtron/tools/take_flag.h"

namespace ringtron {
namespace {

constexpr const char* kHelp = R"(verify_cp [flags of pretrain_gpt] [own flags]

Proves the schedules of the given sizes (every cell of the attention mask once, every message received, memory as
promised), without running them. Then makes the training small (layers, widths, length, batch; the layout of ranks and everything that context
parallelism touches stay), trains it for three steps in one process and in the layout of the flags, in fp64 on this
machine's CPU, and compares losses and gradients. Needs no launcher, no GPU and no data; under a launcher the launched
processes are the ranks.

Own flags:
  --world-size N    Ranks of the run that is meant. Default: what the launcher says, else TP x CP x PP.
  --tolerance X     Largest relative difference that passes. Default: 1e-10.
  --inject FAULT    Make the exchange wrong on purpose, to see that the comparison finds it:
                      swap-chunks     each rank's first and last row of keys change places
                      drop-merge      the last part of each result is not merged
                      skip-exchange   no message is sent
                      double-count    the first block is attended to twice
                      wrong-kept      with --cp-keep-kv: recomputed attention finds each block's first and last
                                      row of keys in each other's place

Exit code: 0 when everything is within the tolerance, 1 when something is not, 2 for a bad command line.

Example:
  verify_cp --world-size 8 --tensor-model-parallel-size 2 --context-parallel-size 4 --sequence-parallel \
      --cp-comm-type p2p --num-layers 32 --hidden-size 4096 --num-attention-heads 32 --seq-length 8192 \
      --max-position-embeddings 8192 --micro-batch-size 1 --global-batch-size 64 --train-iters 1000 --lr 1e-4 \
      --mock-data --tokenizer-type NullTokenizer --vocab-size 50000

All flags of pretrain_gpt: pretrain_gpt --help.
)";

struct NamedFault {
  const char* name;
  CpFault fault;
};
constexpr NamedFault kFaults[] = {{"swap-chunks", CpFault::swap_chunks},
                                  {"drop-merge", CpFault::drop_merge},
                                  {"skip-exchange", CpFault::skip_exchange},
                                  {"double-count", CpFault::double_count},
                                  {"wrong-kept", CpFault::wrong_kept}};

CpFault fault_of(const std::string& text) {
  std::vector<std::string> names;
  for (const NamedFault& known : kFaults) {
    if (text == known.name) return known.fault;
    names.emplace_back(known.name);
  }
  throw ConfigError(
      fmt::format("--inject: expected one of {}, got '{}'. Choose one", join(names, ", "), excerpt(text)));
}

int world_size_of(std::optional<int> asked, const LaunchEnvironment& environment, bool started_by_us,
                  const std::vector<std::string>& words) {
  const bool launched = environment.launcher != Launcher::alone && !started_by_us;
  if (launched && asked && *asked != environment.world_size) {
    throw ConfigError(
        fmt::format("--world-size: expected the launcher's {}, got {}. Leave it out, or start verify_cp "
                    "without a launcher",
                    environment.world_size, *asked));
  }
  if (launched) return environment.world_size;
  if (asked) return *asked;
  const ParallelConfig parallel = parse_flags(words).line.config.parallel;
  double ranks = 1.0;
  for (const int size :
       {parallel.tensor_model_parallel_size, parallel.context_parallel_size, parallel.pipeline_model_parallel_size}) {
    ranks *= std::max(size, 1);
  }
  return static_cast<int>(std::min(ranks, 1.0 * std::numeric_limits<int>::max()));
}

}  // namespace

VerifyOptions parse_verify(std::span<const std::string> arguments, const LaunchEnvironment& environment) {
  std::vector<std::string> words(arguments.begin(), arguments.end());
  VerifyOptions out;
  const std::optional<int> world_size = take_count(words, "--world-size");
  if (const auto fault = take_flag(words, "--inject")) {
    out.fault_name = *fault;
    out.fault = fault_of(*fault);
  }
  out.tolerance = take_positive(words, "--tolerance").value_or(out.tolerance);
  out.report_fd = take_count(words, "--report-fd").value_or(-1);
  out.world_size = world_size_of(world_size, environment, out.report_fd >= 0, words);

  const ParseResult parsed = parse_command_line(words, out.world_size);
  if (std::holds_alternative<HelpText>(parsed)) {
    out.help = kHelp;
    return out;
  }
  const auto& line = std::get<CommandLine>(parsed);
  out.notices = line.notices;
  if (out.fault != CpFault::none && line.config.parallel.context_parallel_size == 1) {
    throw ConfigError(
        "--inject: expected --context-parallel-size above 1, got 1: there is no exchange to make wrong. "
        "Raise it");
  }
  if (out.fault == CpFault::wrong_kept && !line.config.recompute.cp_keep_kv) {
    throw ConfigError(
        "--inject wrong-kept: expected --cp-keep-kv and recomputed activations, got none: nothing is kept. Add "
        "--recompute-activations --cp-keep-kv");
  }
  const bool alone = environment.launcher == Launcher::alone || out.report_fd >= 0;
  out.given = line.config;
  out.small = shrink_config(line.config, out.world_size, /*drop_replicas=*/alone);
  // The proof would stop the run before there is anything to compare.
  if (out.fault != CpFault::none) out.small.config.parallel.proof_of_exchange = false;
  return out;
}

}  // namespace ringtron
