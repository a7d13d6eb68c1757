#include "ringtron/program/program.h"

#include <filesystem>
#include <optional>
#include <utility>
#include <variant>

#include "ringtron/base/error.h"
#include "ringtron/base/log.h"
#include "ringtron/base/result_line.h"
#include "ringtron/config/notice.h"
#include "ringtron/config/parse.h"
#include "ringtron/program/torch_check.h"
#include "ringtron/train/run_as_rank.h"
#include "ringtron/train/start_up/before_rendezvous.h"

namespace ringtron {
namespace {

// Ends body() where nothing went wrong.
struct HelpWasPrinted {};

}  // namespace

Program::Program(int argc, char** argv, StopSignals& signals)
    : arguments_(ringtron::arguments(argc, argv)),
      environment_(read_launch_environment(process_environment)),
      signals_(signals) {}

Config Program::flags_over(Config defaults, const std::vector<std::string>& flags) const {
  std::optional<ParseResult> parsed;
  before_rendezvous(environment_, [&] { parsed = parse(flags, std::move(defaults)); });
  const bool tells = environment_.rank == 0;
  if (const auto* help = std::get_if<HelpText>(&*parsed)) {
    if (tells) print_result(help->text);
    throw HelpWasPrinted{};
  }
  auto& line = std::get<CommandLine>(*parsed);
  for (const Notice& notice : line.notices) {
    if (!tells) break;
    if (notice.kind == Notice::Kind::warning) {
      warn_line(notice.text);
    } else {
      print_line(notice.text);
    }
  }
  return std::move(line.config);
}

int run_program(int argc, char** argv, const std::function<void(Program&)>& body) noexcept {
  const std::string name = argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "program";
  return run_main(name.c_str(), [&] {
    return run_as_rank([&](StopSignals& signals) {
      require_torch_version();
      Program program(argc, argv, signals);
      try {
        body(program);
      } catch (const HelpWasPrinted&) {
        return kExitOk;
      }
      return program.stopped_by() == 0 ? kExitOk : exit_code_after(program.stopped_by());
    });
  });
}

}  // namespace ringtron
