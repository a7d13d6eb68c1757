// cp_demo_minimal: context parallelism in small, shown and checked. Started like pretrain_gpt, or alone.
#include "ringtron/base/error.h"
#include "ringtron/config/parse.h"
#include "ringtron/tools/demo/cp_demo.h"
#include "ringtron/train/run_as_rank.h"

int main(int argc, char** argv) {
  using namespace ringtron;
  return run_main("cp_demo_minimal", [&] {
    return run_as_rank(
        [&](StopSignals&) { return cp_demo(arguments(argc, argv), read_launch_environment(process_environment)); });
  });
}
