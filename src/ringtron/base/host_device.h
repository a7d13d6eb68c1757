// RT_HOST_DEVICE: in front of a function that CUDA kernels call too.
#pragma once

#ifdef __CUDACC__
#define RT_HOST_DEVICE __host__ __device__
#else
#define RT_HOST_DEVICE
#endif
