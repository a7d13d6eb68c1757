// Starts a program once for each rank of this node: torchrun's work, for programs that are not Python.
#include <cstdio>
#include <string>
#include <vector>

#include "ringtron/base/error.h"
#include "ringtron/launch/launch_environment.h"
#include "ringtron/launch/ringrun_options.h"
#include "ringtron/launch/supervisor.h"

int main(int argc, char** argv) {
  return ringtron::run_main("ringrun", [&] {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    const ringtron::RingrunCommandLine line =
        ringtron::parse_ringrun(arguments, ringtron::process_environment);
    if (line.help) {
      std::fputs(ringtron::ringrun_help().c_str(), stdout);
      return ringtron::kExitOk;
    }
    return ringtron::supervise(line.command, line.options);
  });
}
