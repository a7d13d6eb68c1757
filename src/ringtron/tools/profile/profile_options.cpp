#include "ringtron/tools/profile/profile_options.h"

#include <fmt/format.h>

#include <utility>
#include <variant>

#include "ringtron/base/error.h"
#include "ringtron/base/text.h"
#include "ringtron/config/validate.h"
#include "ringtron/tools/take_flag.h"

namespace ringtron {
namespace {

constexpr const char* kHelp =
    R"(profile_cp: times the attention of one layer under each context-parallel transport.

Takes all flags of pretrain_gpt (below), is started like it, and takes besides:
  --transports A,B   which to profile (default: all that the configuration allows)
  --repeats N        timed steps of each (default 20)
  --warmup N         steps before them (default 3; 0: none)
  --json FILE        the result for programs
  --trace FILE       a timeline of one step of each, for chrome://tracing or ui.perfetto.dev
Says on stderr what it is at, where that takes more than two seconds.
Layers without attention are not timed; check_cp_config tells what Mamba layers send.
With --reset-attention-mask, samples are made of documents: nine of ten are short, one is long.
)";

// The value of --transports.
std::vector<CpTransport> transports_in(const std::string& list) {
  std::vector<CpTransport> transports;
  for (const std::string& word : split(list, ',')) {
    try {
      transports.push_back(transport_of(word));
    } catch (const ConfigError&) {
      throw ConfigError(fmt::format("--transports: expected {}, with a comma between two of them, got '{}'. See --help",
                                    transports_text(), excerpt(list)));
    }
  }
  return transports;
}

}  // namespace

ProfileOptions parse_profile_options(std::span<const std::string> arguments, int world_size) {
  ProfileOptions options;
  std::vector<std::string> words(arguments.begin(), arguments.end());
  options.json_file = take_flag(words, "--json").value_or("");
  options.trace_file = take_flag(words, "--trace").value_or("");
  options.repeats.repeats = take_count(words, "--repeats").value_or(options.repeats.repeats);
  options.repeats.warmup = take_count(words, "--warmup", 0).value_or(options.repeats.warmup);
  if (const auto list = take_flag(words, "--transports")) options.transports = transports_in(*list);
  ParseResult parsed = parse_command_line(words, world_size);
  if (const auto* help = std::get_if<HelpText>(&parsed)) {
    options.help = fmt::format("{}\n{}", kHelp, help->text);
  } else {
    options.line = std::get<CommandLine>(std::move(parsed));
    const std::string letters = fill_defaults(options.line.config, world_size).config.model.hybrid_layer_pattern;
    if (!letters.empty() && letters.find('*') == std::string::npos) {
      throw ConfigError(fmt::format(
          "--hybrid-layer-pattern: expected a layer with attention (*), got '{}'. There is nothing to time; "
          "check_cp_config tells what Mamba layers send",
          excerpt(letters)));
    }
  }
  return options;
}

}  // namespace ringtron
