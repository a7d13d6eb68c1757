#include "benchmarks/context_parallel/setting.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>

#include <algorithm>
#include <cmath>
#include <fstream>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/base/text.h"
#include "ringtron/comm/make_communicator.h"
#include "ringtron/context_parallel/plan/balanced_layout.h"
#include "ringtron/tools/take_flag.h"
#include "ringtron/train/cuda_runtime.h"
#include "ringtron/train/memory/memory_check.h"
#include "ringtron/train/start_up/before_rendezvous.h"

namespace ringtron::benchmark {

const char* const kHelp =
    R"(context_parallel: how fast attention over several ranks is against the same kernel on one.

  ringrun --no-prefix --nproc-per-node 2 build/cuda/benchmarks/context_parallel
  ringrun --no-prefix --nproc-per-node 2 build/cpu/benchmarks/context_parallel

Prints markdown. Outputs and gradients are compared with one rank's first; where they differ, nothing is timed.
  --tokens A,B     per rank (default 8192,16384,32768 on GPUs, 256,512,1024 on CPUs)
  --heads N        query heads (default 32 on GPUs, 8 on CPUs)
  --head-size D    (default 128 on GPUs, 64 on CPUs)
  --parts A,B      of error,rates,documents,planning,auto (default: all)
  --repeats N      timed steps in each of two rounds (default 20 on GPUs, 5 on CPUs)
  --warmup N       steps before them (default 5 on GPUs, 1 on CPUs)
  --head-ranks N   ranks that share heads under a2a+p2p, a divisor of all ranks (default 2)
  --trace PREFIX   writes Chrome traces of the device's activity, for each transport at the first length
  --peer FILE      what torch_context_parallel.py --output wrote on this machine: our rates / its best mode's
  --no-peer-copies messages through NCCL's kernels even where copy engines can carry them
  --inject         sends nothing while outputs are compared: they must be found to differ
)";

namespace {

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return std::string(trim(line.substr(line.find(':') + 1)));
  }
  return "unknown CPU";
}

constexpr std::string_view kParts[] = {"error", "rates", "documents", "planning", "auto"};

Options parse(std::vector<std::string> words, bool gpu) {
  Options o;
  o.repeats = gpu ? Repeats{5, 20} : Repeats{1, 5};
  o.repeats.repeats = take_count(words, "--repeats").value_or(o.repeats.repeats);
  o.repeats.warmup = take_count(words, "--warmup").value_or(o.repeats.warmup);
  o.head_ranks = take_count(words, "--head-ranks", 2).value_or(o.head_ranks);
  const int heads = take_count(words, "--heads").value_or(gpu ? 32 : 8);
  const int size = take_count(words, "--head-size").value_or(gpu ? 128 : 64);
  if (heads % 8 != 0) throw ConfigError(fmt::format("--heads: expected a multiple of 8, got {}", heads));
  o.heads = {{heads, heads, size}, {heads, heads / 8, size}};
  const std::string tokens = take_flag(words, "--tokens").value_or(gpu ? "8192,16384,32768" : "256,512,1024");
  for (std::string word : split(tokens, ',')) {
    std::vector<std::string> one = {"--tokens", word};
    o.tokens.push_back(take_count(one, "--tokens").value());
  }
  o.parts = split(take_flag(words, "--parts").value_or("error,rates,documents,planning,auto"), ',');
  for (const std::string& part : o.parts) {
    if (std::count(std::begin(kParts), std::end(kParts), part) > 0) continue;
    throw ConfigError(fmt::format("--parts: expected error, rates, documents, planning or auto, got {}", part));
  }
  o.trace = take_flag(words, "--trace").value_or("");
  o.peer = take_flag(words, "--peer").value_or("");
  if (!o.peer.empty() && std::count(o.parts.begin(), o.parts.end(), "rates") == 0)
    throw ConfigError("--peer: expected rates among --parts, got none. Add it, or leave --peer out");
  if (std::erase(words, "--inject") > 0) o.silent = true;
  o.peer_copies = std::erase(words, "--no-peer-copies") == 0;
  o.help = std::erase(words, "--help") > 0;
  if (!words.empty()) throw ConfigError(fmt::format("expected no other flag, got {}. See --help", words[0]));
  return o;
}

// Query, key, value and output of the longest shard, with their gradients: less than that is of no use.
void require_memory_for(const Setting& setting) {
  const auto available = memory_of_rank(setting.device, setting.environment.local_world_size);
  if (!available) return;
  const double longest =
      static_cast<double>(*std::max_element(setting.options.tokens.begin(), setting.options.tokens.end()));
  const Heads& heads = setting.options.heads.front();
  const double bytes = 8.0 * longest * static_cast<double>(heads.query * heads.size) *
                       static_cast<double>(c10::elementSize(setting.type));
  if (bytes <= static_cast<double>(*available)) return;
  throw ConfigError(
      fmt::format("too large for this machine: {:.0f} tokens take {:.1f} GiB on each rank, which has {}. Take "
                  "smaller --tokens, --heads or --head-size",
                  longest, bytes / (1 << 30), human_bytes(static_cast<std::uint64_t>(*available))));
}

}  // namespace

std::string Heads::name() const { return fmt::format("{}/{} of {}", query, key_value, size); }

std::string Setting::machine() const { return device.is_cuda() ? device_name(device) : cpu_name(); }

std::vector<CpTransport> Setting::transports() const {
  const bool groups = group->size() > options.head_ranks && group->size() % options.head_ranks == 0;
  std::vector<CpTransport> transports = cp_transports();
  std::erase_if(transports,
                [&](CpTransport transport) { return !refusal_of(transport, groups ? options.head_ranks : 0).empty(); });
  return transports;
}

CpAttentionOptions Setting::attention_options() const {
  CpAttentionOptions o;
  if (group->size() % options.head_ranks == 0) o.hierarchical_a = options.head_ranks;
  return o;
}

void Setting::say(const std::string& line) const {
  if (!speaks()) return;
  for (const std::string& one : split(line, '\n')) print_line(one);
}

LayerSetup Setting::layer(const Heads& heads, std::int64_t length, CpLayout layout,
                          const std::vector<std::int64_t>& documents) const {
  LayerSetup layer;
  layer.type = type;
  layer.device = device;
  layer.shape = {
      1, heads.query, heads.key_value, heads.size, heads.size, static_cast<std::int64_t>(c10::elementSize(type)), 4};
  layer.call.scale = 1.0 / std::sqrt(static_cast<double>(heads.size));
  const std::vector<AttentionMask> masks = {AttentionMask(length, true, {}, documents)};
  SequenceShape shape{make_layout(layout, masks, group->size()), {}};
  if (!documents.empty()) shape.document_starts = {documents};
  layer.call.shape = std::make_shared<const SequenceShape>(std::move(shape));
  return layer;
}

LayerSetup of_one_rank(const LayerSetup& layer) {
  LayerSetup one = layer;
  SequenceShape shape{contiguous_layout(layer.layout().sequence_length(), 1), layer.call.shape->document_starts};
  one.call.shape = std::make_shared<const SequenceShape>(std::move(shape));
  one.call.transport = CpTransport::p2p;
  return one;
}

Setting make_setting(std::vector<std::string> words, const LaunchEnvironment& environment) {
  Setting setting;
  setting.environment = environment;
  setting.device = choose_device(std::nullopt, environment.local_rank);
  const bool gpu = setting.device.is_cuda();
  setting.type = gpu ? at::kBFloat16 : at::kFloat;
  setting.options = parse(std::move(words), gpu);
  if (setting.options.help) return setting;
  require_memory_for(setting);
  RendezvousOptions meeting = rendezvous_options(environment);
  meeting.peer_copies = setting.options.peer_copies;
  setting.rendezvous = std::make_unique<Rendezvous>(meeting);
  std::vector<int> members;
  for (int rank = 0; rank < environment.world_size; ++rank) members.push_back(rank);
  setting.group =
      make_communicator(gpu ? Backend::nccl : Backend::gloo, "context-parallel", members, *setting.rendezvous);
  at::manual_seed(1234 + static_cast<std::uint64_t>(environment.rank));
  return setting;
}

void print_heading(const Setting& setting) {
  const Options& o = setting.options;
  const bool gpu = setting.device.is_cuda();
  std::string versions = fmt::format("torch {}", TORCH_VERSION);
  if (gpu) {
    versions += fmt::format(", cuDNN {}, CUDA {}", at::detail::getCUDAHooks().versionRuntimeCuDNN(),
                            at::detail::getCUDAHooks().versionCUDART());
  }
  setting.say(fmt::format("- machine: {} ranks on {}", setting.group->size(), setting.machine()));
  setting.say(fmt::format("- versions: {}; threads of a rank: {}", versions, at::get_num_threads()));
  setting.say(fmt::format(
      "- at least {} warm-up and {} timed steps (on GPUs 0.3 s and 0.15 s) in each of two rounds, every step with new random tensors; median "
      "of the slowest rank, spread = (p90 - min) / median",
      o.repeats.warmup, o.repeats.repeats));
  setting.say(fmt::format("- {}, causal, forward and backward", c10::toString(setting.type)));
}

}  // namespace ringtron::benchmark
