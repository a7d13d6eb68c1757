// pretrain_mamba: pretrains a model of Mamba-2 layers, alone or with attention and MLP layers. Started as pretrain_gpt
// is.
#include "ringtron/base/error.h"
#include "ringtron/train/pretrain.h"

int main(int argc, char** argv) {
  return ringtron::run_main("pretrain_mamba", [&] { return ringtron::pretrain_mamba(argc, argv); });
}
