# The imported target `torch`, made from the wheel in RINGTRON_VENV or from RINGTRON_LIBTORCH.
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
file(STRINGS "${TORCH_ROOT}/include/torch/headeronly/version.h" TORCH_VERSION REGEX "^ *\"[0-9.]+\"")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" TORCH_VERSION "${TORCH_VERSION}")
get_filename_component(TORCH_SITE "${TORCH_ROOT}" DIRECTORY)
set(TORCH_RUNPATH "${TORCH_ROOT}/lib" "${TORCH_SITE}/nvidia/cu13/lib" "${TORCH_SITE}/nvidia/cudnn/lib"
                  "${TORCH_SITE}/nvidia/nccl/lib")
set(CMAKE_BUILD_RPATH ${TORCH_RUNPATH})
# An installed program finds torch through the link that ringtron-use-torch makes.
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib" "$ORIGIN/../lib/ringtron/torch/lib")
foreach(part cu13 cudnn nccl)
  list(APPEND CMAKE_INSTALL_RPATH "$ORIGIN/../lib/ringtron/torch/../nvidia/${part}/lib")
endforeach()

# The wheel brings headers of a newer fmt, but hides that library's symbols. Ours must be found first, in a folder of its
# own, since /usr/include itself may not be given as a system folder.
find_path(RINGTRON_FMT_INCLUDE fmt/format.h REQUIRED NO_CACHE)
file(MAKE_DIRECTORY "${CMAKE_BINARY_DIR}/fmt_first")
file(CREATE_LINK "${RINGTRON_FMT_INCLUDE}/fmt" "${CMAKE_BINARY_DIR}/fmt_first/fmt" SYMBOLIC)

set(torch_options ROOT "${TORCH_ROOT}")
if(RINGTRON_CUDA)
  list(APPEND torch_options CUDA CUDA_INCLUDE "${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES}")
endif()
include(ringtron_torch)
ringtron_import_torch(torch ${torch_options})
target_include_directories(torch SYSTEM BEFORE INTERFACE "${CMAKE_BINARY_DIR}/fmt_first")

# One precompiled header, shared by all torch targets through REUSE_FROM: 14-20 s once, then about 2 s a file instead of 9.
file(WRITE "${CMAKE_BINARY_DIR}/torch_pch.cpp.new" "// Exists so that the shared precompiled header has an owner.\n")
file(COPY_FILE "${CMAKE_BINARY_DIR}/torch_pch.cpp.new" "${CMAKE_BINARY_DIR}/torch_pch.cpp" ONLY_IF_DIFFERENT)
add_library(torch_pch OBJECT "${CMAKE_BINARY_DIR}/torch_pch.cpp")
target_link_libraries(torch_pch PRIVATE torch)
target_compile_options(torch_pch PRIVATE -fpch-preprocess -Wno-invalid-pch)
target_precompile_headers(torch_pch PRIVATE <ATen/ATen.h> <torch/csrc/autograd/custom_function.h>)
