# Compiler speed-ups that are used where present, and the flags that every target shares.
find_program(RINGTRON_CCACHE ccache)
if(RINGTRON_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # A precompiled header is cacheable only with these two sloppiness settings (ccache manual, "Precompiled headers").
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${RINGTRON_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${launcher})
endif()
# Not mold: before 2.4, which Debian 12 has, it lets the part that is read-only after loading begin in a page that is not
# there (https://github.com/rui314/mold/issues/1151), and without such a part it never ends, both by chance of a program's
# size.
find_program(RINGTRON_LLD ld.lld)
if(RINGTRON_LLD)
  add_link_options(-fuse-ld=lld)
endif()

set(CMAKE_CXX_FLAGS_RELEASE "-O2")
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-Wall> $<$<COMPILE_LANGUAGE:CXX>:-Wextra>
                    $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
# Every object may become part of libringtron_ops.so. Without the second option the compiler would inline no function that a
# program could put another one in place of.
add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fPIC> $<$<COMPILE_LANGUAGE:CXX>:-fno-semantic-interposition>
                    $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-fPIC>)
if(RINGTRON_SANITIZE)
  # An instrumented call of a function that never returns looks to GCC as if it could: it then misses a return behind it.
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer -Wno-return-type)
  add_link_options(-fsanitize=address,undefined)
endif()
if(RINGTRON_CUDA)
  # Chosen before enable_language(), which would otherwise choose a default of its own that nothing overrides.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES "80-real;90a-real;100-real")
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    # The toolkit's installer leaves nvcc out of PATH.
    find_program(RINGTRON_NVCC nvcc HINTS /usr/local/cuda/bin)
    if(RINGTRON_NVCC)
      set(CMAKE_CUDA_COMPILER "${RINGTRON_NVCC}")
    endif()
  endif()
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_EXTENSIONS OFF)
  if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
    # CMake before 3.26 does not know that nvcc 12 and later take C++20.
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
endif()
