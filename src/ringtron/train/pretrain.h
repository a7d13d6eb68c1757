// The programs pretrain_gpt and pretrain_mamba as functions: command line in, exit code out.
#pragma once

namespace ringtron {

// Never throws for what a user can cause: prints one message and returns the same exit code on all ranks.
int pretrain_gpt(int argc, char** argv);

// The same with --is-hybrid-model: without a pattern all layers are Mamba-2.
int pretrain_mamba(int argc, char** argv);

}  // namespace ringtron
