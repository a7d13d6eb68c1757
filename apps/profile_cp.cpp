// profile_cp: what each context-parallel transport costs for the attention of the user's own configuration.
#include "ringtron/tools/profile/profile_cp.h"
#include "ringtron/base/error.h"
#include "ringtron/config/parse.h"
#include "ringtron/train/run_as_rank.h"

int main(int argc, char** argv) {
  using namespace ringtron;
  return run_main("profile_cp", [&] {
    return run_as_rank(
        [&](StopSignals&) { return profile_cp(arguments(argc, argv), read_launch_environment(process_environment)); });
  });
}
