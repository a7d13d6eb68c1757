// Starts a program once for each rank of this node: torchrun's work, for programs that are not Python.
#include <string>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/base/result_line.h"
#include "ringtron/base/text.h"
#include "ringtron/launch/launch_environment.h"
#include "ringtron/launch/ringrun_options.h"
#include "ringtron/launch/supervisor.h"

int main(int argc, char** argv) {
  return ringtron::run_main("ringrun", [&] {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const ringtron::RingrunCommandLine line = ringtron::parse_ringrun(arguments, ringtron::process_environment);
    if (line.help) {
      ringtron::print_result(ringtron::trim(ringtron::ringrun_help()));
      return ringtron::kExitOk;
    }
    return ringtron::supervise(line.command, line.options);
  });
}
