// The pretrain_gpt program as a function: command line in, exit code out.
#pragma once

namespace ringtron {

// Never throws for what a user can cause: prints one message and returns the same exit code on all ranks.
int pretrain_gpt(int argc, char** argv);

}  // namespace ringtron
