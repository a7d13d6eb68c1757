// context_parallel: measures attention over several ranks against one rank, and prints the tables of
// docs/benchmarks.md.
#include <algorithm>
#include <optional>

#include "benchmarks/context_parallel/accuracy.h"
#include "benchmarks/context_parallel/peer.h"
#include "benchmarks/context_parallel/rates.h"
#include "benchmarks/context_parallel/setting.h"
#include "benchmarks/context_parallel/trace.h"
#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/config/parse.h"
#include "ringtron/train/run_as_rank.h"

namespace ringtron {
namespace {

int measure(const std::vector<std::string>& words) {
  const auto setting = benchmark::make_setting(words, read_launch_environment(process_environment));
  if (setting.options.help) {
    setting.say(benchmark::kHelp);
    return kExitOk;
  }
  // Read first: a fault in it is not to be found after minutes of measuring.
  std::optional<benchmark::Peer> peer;
  if (!setting.options.peer.empty()) {
    peer = benchmark::read_peer(setting.options.peer);
    benchmark::check_comparable(*peer, setting);
  }
  benchmark::print_heading(setting);
  if (!benchmark::outputs_agree(setting)) {
    setting.say("outputs differ from one rank's: nothing is timed");
    return kExitFailure;
  }
  setting.say("- outputs and gradients equal one rank's");
  const auto wanted = [&](const char* part) {
    return std::count(setting.options.parts.begin(), setting.options.parts.end(), part) > 0;
  };
  if (!setting.options.trace.empty()) benchmark::write_traces(setting);
  if (wanted("error")) benchmark::print_errors(setting);
  if (wanted("rates")) {
    const auto rates = benchmark::print_rates(setting);
    if (peer) benchmark::print_against_peer(setting, *peer, rates);
  }
  if (wanted("documents")) benchmark::print_documents(setting);
  if (wanted("planning")) benchmark::print_planning(setting);
  if (wanted("auto")) benchmark::print_auto(setting);
  return kExitOk;
}

}  // namespace
}  // namespace ringtron

int main(int argc, char** argv) {
  using namespace ringtron;
  return run_main("context_parallel",
                  [&] { return run_as_rank([&](StopSignals&) { return measure(arguments(argc, argv)); }); });
}
