// Stands in for the kernels' header of this name, on the host.
#pragma once

#include "tests/kernels/on_host/cuda_runtime.h"

namespace ringtron {

template <class T>
T* dynamic_shared() {
  return static_cast<T*>(on_host::dynamic_shared());
}

template <class Params>
void launch(void (*kernel)(Params), dim3 grid, dim3 threads, int shared, const Params& params, void*) {
  on_host::run_grid(grid, threads, static_cast<std::size_t>(shared), [&] { kernel(params); });
}

}  // namespace ringtron
