// pretrain_gpt: pretrains a GPT model. Started once per process, by ringrun, torchrun --no-python, srun, mpirun or
// alone.
#include "ringtron/base/error.h"
#include "ringtron/train/pretrain.h"

int main(int argc, char** argv) {
  return ringtron::run_main("pretrain_gpt", [&] { return ringtron::pretrain_gpt(argc, argv); });
}
