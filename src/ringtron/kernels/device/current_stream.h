// The CUDA stream that kernels are put on, for host code that includes nothing of CUDA.
#pragma once

namespace ringtron {

// A cudaStream_t: LibTorch's current stream of the current GPU. Fails in a CPU build, where no tensor is on a GPU.
void* current_cuda_stream();

}  // namespace ringtron
