#include "benchmarks/context_parallel/trace.h"

#include <fmt/format.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include "benchmarks/context_parallel/rates.h"
#include "ringtron/context_parallel/plan/transport.h"

namespace ringtron::benchmark {
namespace {

namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;

void write_trace(const Setting& setting, LayerSetup layer, CpTransport transport, const std::string& path) {
  layer.call.transport = transport;
  LayerBench bench(*setting.group, layer, setting.attention_options());
  bench.time_steps({2, 1});  // plans are made, connections are open
  const std::set<ActivityType> activities =
      setting.device.is_cuda() ? std::set{ActivityType::CUDA} : std::set{ActivityType::CPU};
  const torch::profiler::impl::ProfilerConfig config(torch::profiler::impl::ProfilerState::KINETO);
  profiler::prepareProfiler(config, activities);
  profiler::enableProfiler(config, activities);
  bench.time_steps({0, 2});
  const auto result = profiler::disableProfiler();
  result->save(fmt::format("{}-rank{}.json", path, setting.group->rank()));
}

}  // namespace

void write_traces(const Setting& setting) {
  for (const Heads& heads : setting.options.heads) {
    const LayerSetup layer = setting.layer(heads, setting.options.tokens.front() * setting.group->size());
    for (const CpTransport transport : {CpTransport::p2p, CpTransport::all_gather, CpTransport::a2a}) {
      const std::string path = fmt::format("{}-{}-{}", setting.options.trace, to_text(transport), heads.key_value);
      write_trace(setting, layer, transport, path);
      setting.say(fmt::format("- traces of two steps: {}-rank*.json", path));
    }
  }
  const std::int64_t length = setting.options.tokens.front() * setting.group->size();
  const LayerSetup documents =
      setting.layer(setting.options.heads.back(), length, CpLayout::zigzag, documents_of(length));
  for (const CpTransport transport : setting.transports()) {
    const std::string path = fmt::format("{}-{}-documents", setting.options.trace, to_text(transport));
    write_trace(setting, documents, transport, path);
    setting.say(fmt::format("- traces of two steps: {}-rank*.json", path));
  }
}

}  // namespace ringtron::benchmark
