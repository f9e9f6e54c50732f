# Warnings, sanitizers and the flags every target shares.
add_library(chunkllm_options INTERFACE)
target_compile_options(chunkllm_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
                                                 -Wno-sign-conversion -Wnon-virtual-dtor)
# A value that an enum gains is met by every switch over it, or nothing builds.
target_compile_options(chunkllm_options INTERFACE -Werror=switch -Werror=switch-enum)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlaps and overflows in std::string's own code that are not there (GCC bugs 105651
  # and 105329).
  target_compile_options(chunkllm_options INTERFACE -Wno-restrict -Wno-stringop-overflow
                                                   -Wno-array-bounds)
endif()
if(CHUNKLLM_WERROR)
  target_compile_options(chunkllm_options INTERFACE -Werror)
endif()
if(CHUNKLLM_SANITIZE)
  target_compile_options(chunkllm_options INTERFACE -fsanitize=${CHUNKLLM_SANITIZE}
                                                   -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(chunkllm_options INTERFACE -fsanitize=${CHUNKLLM_SANITIZE})
  if(CHUNKLLM_SANITIZE MATCHES "undefined")
    # Slow to compile: AddressSanitizer ends what uses a null pointer or leaves an object, and
    # casts from one class to another are checked ones here.
    target_compile_options(chunkllm_options INTERFACE -fno-sanitize=null,object-size,vptr)
  endif()
endif()

# Where little time is spent, the command line and the tests themselves: half the time to compile.
set(CHUNKLLM_COLD_CODE -O1)
if(CHUNKLLM_SANITIZE)
  set(CHUNKLLM_COLD_CODE -O0)
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
