# ringtron_import_torch(<target> ROOT dir [CUDA] [CUDA_INCLUDE dir...]): an imported target for the LibTorch in `dir`, a torch
# wheel's folder or an unpacked LibTorch. The wheel's own TorchConfig.cmake demands a CUDA toolkit; this serves a CPU-only
# machine as well. Used by the build and by the installed package.
function(ringtron_import_torch target)
  cmake_parse_arguments(arg "CUDA" "ROOT" "CUDA_INCLUDE" ${ARGN})
  set(root "${arg_ROOT}")
  get_filename_component(site "${root}" DIRECTORY)
  add_library(${target} INTERFACE IMPORTED GLOBAL)
  target_include_directories(${target} SYSTEM INTERFACE "${root}/include" "${root}/include/torch/csrc/api/include")
  target_compile_definitions(${target} INTERFACE USE_DISTRIBUTED USE_C10D_GLOO)
  target_link_libraries(${target} INTERFACE "${root}/lib/libtorch_cpu.so" "${root}/lib/libc10.so")
  # at::parallel_for is a template: compiled without OpenMP it is a plain loop, on one thread. The wheel's own runtime is
  # linked, so that a process has one pool of threads.
  target_compile_options(${target} INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
  file(GLOB gomp "${root}/lib/libgomp*.so*")
  list(LENGTH gomp count)
  if(count GREATER 1)
    message(FATAL_ERROR "LibTorch: expected one libgomp in ${root}/lib, found ${count}")
  elseif(count EQUAL 0)  # a LibTorch that uses the system's
    find_package(OpenMP REQUIRED COMPONENTS CXX)
    set(gomp OpenMP::OpenMP_CXX)
  endif()
  target_link_libraries(${target} INTERFACE "${gomp}")
  # The wheel's CUDA libraries are found through RUNPATH at run time; at link time their own needs are not our concern.
  # Functions are bound when they are called, so that torch_check.cpp can name the versions of a LibTorch that lacks some.
  target_link_options(${target} INTERFACE LINKER:--allow-shlib-undefined LINKER:-z,lazy)
  if(arg_CUDA)
    target_compile_definitions(${target} INTERFACE USE_C10D_NCCL)
    target_include_directories(${target} SYSTEM INTERFACE "${site}/nvidia/nccl/include" "${site}/nvidia/cudnn/include"
                               "${site}/include" ${arg_CUDA_INCLUDE})
    # Without --no-as-needed the linker drops libtorch_cuda.so and every CUDA operator is missing at run time.
    target_link_libraries(${target} INTERFACE
      "-Wl,--push-state,--no-as-needed" "${root}/lib/libtorch_cuda.so" "${root}/lib/libc10_cuda.so" "-Wl,--pop-state"
      "${site}/nvidia/cu13/lib/libcudart.so.13" "${site}/nvidia/nccl/lib/libnccl.so.2"
      "${site}/nvidia/cudnn/lib/libcudnn.so.9" "${site}/nvidia/cu13/lib/libnvrtc.so.13")
  endif()
endfunction()
