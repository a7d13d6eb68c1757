# Imported targets `torch` (CPU) and `torch_cuda`, made from the wheel in RINGTRON_VENV or from RINGTRON_LIBTORCH.
# The wheel's own TorchConfig.cmake demands a CUDA toolkit; these serve a CPU-only machine as well.
if(RINGTRON_LIBTORCH)
  set(TORCH_ROOT "${RINGTRON_LIBTORCH}")
else()
  file(GLOB candidates "${RINGTRON_VENV}/lib/python3*/site-packages/torch")
  list(LENGTH candidates count)
  if(NOT count EQUAL 1)
    message(FATAL_ERROR "LibTorch: expected one torch wheel under ${RINGTRON_VENV}, found ${count}. "
                        "Run scripts/setup, or pass -DRINGTRON_LIBTORCH=DIR.")
  endif()
  set(TORCH_ROOT "${candidates}")
endif()
get_filename_component(TORCH_SITE "${TORCH_ROOT}" DIRECTORY)
set(TORCH_RUNPATH "${TORCH_ROOT}/lib" "${TORCH_SITE}/nvidia/cu13/lib" "${TORCH_SITE}/nvidia/cudnn/lib"
                  "${TORCH_SITE}/nvidia/nccl/lib")
set(CMAKE_BUILD_RPATH ${TORCH_RUNPATH})
set(CMAKE_INSTALL_RPATH ${TORCH_RUNPATH})

# The wheel brings headers of a newer fmt, but hides that library's symbols. Ours must be found first, in a folder of its
# own, since /usr/include itself may not be given as a system folder.
find_path(RINGTRON_FMT_INCLUDE fmt/format.h REQUIRED NO_CACHE)
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/fmt_first")
file(CREATE_LINK "${RINGTRON_FMT_INCLUDE}/fmt" "${CMAKE_BINARY_DIR}/fmt_first/fmt" SYMBOLIC)

add_library(torch INTERFACE IMPORTED GLOBAL)
target_include_directories(torch SYSTEM INTERFACE "${CMAKE_BINARY_DIR}/fmt_first" "${TORCH_ROOT}/include"
                           "${TORCH_ROOT}/include/torch/csrc/api/include")
target_compile_definitions(torch INTERFACE USE_DISTRIBUTED USE_C10D_GLOO)
target_link_libraries(torch INTERFACE "${TORCH_ROOT}/lib/libtorch_cpu.so" "${TORCH_ROOT}/lib/libc10.so")
# at::parallel_for is a template: compiled without OpenMP it is a plain loop, on one thread. The wheel's own runtime is linked, so
# that a process has one pool of threads.
target_compile_options(torch INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fopenmp>)
file(GLOB gomp "${TORCH_ROOT}/lib/libgomp*.so*")
list(LENGTH gomp count)
if(count GREATER 1)
  message(FATAL_ERROR "LibTorch: expected one libgomp in ${TORCH_ROOT}/lib, found ${count}")
elseif(count EQUAL 0)  # a LibTorch that uses the system's
  find_package(OpenMP REQUIRED COMPONENTS CXX)
  set(gomp OpenMP::OpenMP_CXX)
endif()
target_link_libraries(torch INTERFACE "${gomp}")
# The wheel's CUDA libraries are found through RUNPATH at run time; at link time their own needs are not our concern.
target_link_options(torch INTERFACE LINKER:--allow-shlib-undefined)

if(RINGTRON_CUDA)
  target_compile_definitions(torch INTERFACE USE_C10D_NCCL)
  target_include_directories(torch SYSTEM INTERFACE "${TORCH_SITE}/nvidia/nccl/include"
                             "${TORCH_SITE}/nvidia/cudnn/include" "${TORCH_SITE}/include"
                             "${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES}")
  # Without --no-as-needed the linker drops libtorch_cuda.so and every CUDA operator is missing at run time.
  target_link_libraries(torch INTERFACE
    "-Wl,--push-state,--no-as-needed" "${TORCH_ROOT}/lib/libtorch_cuda.so" "${TORCH_ROOT}/lib/libc10_cuda.so"
    "-Wl,--pop-state" "${TORCH_SITE}/nvidia/cu13/lib/libcudart.so.13" "${TORCH_SITE}/nvidia/nccl/lib/libnccl.so.2"
    "${TORCH_SITE}/nvidia/cudnn/lib/libcudnn.so.9" "${TORCH_SITE}/nvidia/cu13/lib/libnvrtc.so.13")
endif()

# One precompiled header, shared by all torch targets through REUSE_FROM: 14-20 s once, then about 2 s a file instead of 9.
file(WRITE "${CMAKE_BINARY_DIR}/torch_pch.cpp.new" "// Exists so that the shared precompiled header has an owner.\n")
file(COPY_FILE "${CMAKE_BINARY_DIR}/torch_pch.cpp.new" "${CMAKE_BINARY_DIR}/torch_pch.cpp" ONLY_IF_DIFFERENT)
add_library(torch_pch OBJECT "${CMAKE_BINARY_DIR}/torch_pch.cpp")
target_link_libraries(torch_pch PRIVATE torch)
target_compile_options(torch_pch PRIVATE -fpch-preprocess -Wno-invalid-pch)
target_precompile_headers(torch_pch PRIVATE <ATen/ATen.h> <torch/csrc/autograd/custom_function.h>)
