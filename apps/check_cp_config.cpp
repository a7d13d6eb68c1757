// check_cp_config: shows what a command line of pretrain_gpt would run, and all its faults, without running
// it.
#include "ringtron/tools/check/check_cp_config.h"
#include "ringtron/base/error.h"
#include "ringtron/base/result_line.h"
#include "ringtron/config/parse.h"
#include "ringtron/launch/launch_environment.h"

int main(int argc, char** argv) {
  return ringtron::run_main("check_cp_config", [&] {
    const ringtron::LaunchEnvironment environment = ringtron::read_launch_environment(ringtron::process_environment);
    const int launched = environment.launcher == ringtron::Launcher::alone ? 0 : environment.world_size;
    const ringtron::CheckOutcome outcome = ringtron::check_cp_config(ringtron::arguments(argc, argv), launched);
    if (environment.rank == 0) ringtron::print_result(outcome.text);
    return outcome.exit_code;
  });
}
