// verify_cp: shows on the user's own flags that training in their layout computes what one process computes.
#include "ringtron/tools/verify/verify_cp.h"
#include "ringtron/base/error.h"
#include "ringtron/config/parse.h"
#include "ringtron/train/run_as_rank.h"

int main(int argc, char** argv) {
  using namespace ringtron;
  return run_main("verify_cp", [&] {
    return run_as_rank(
        [&](StopSignals&) { return verify_cp(arguments(argc, argv), read_launch_environment(process_environment)); });
  });
}
