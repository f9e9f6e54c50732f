# Warnings, sanitizers and the flags every target shares.
add_library(chunkllm_options INTERFACE)
target_compile_options(chunkllm_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion
                                                 -Wno-sign-conversion -Wnon-virtual-dtor)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # GCC 12 sees overlaps in std::string's own code that are not there (GCC bug 105651).
  target_compile_options(chunkllm_options INTERFACE -Wno-restrict)
endif()
if(CHUNKLLM_WERROR)
  target_compile_options(chunkllm_options INTERFACE -Werror)
endif()
if(CHUNKLLM_SANITIZE)
  target_compile_options(chunkllm_options INTERFACE -fsanitize=${CHUNKLLM_SANITIZE}
                                                   -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(chunkllm_options INTERFACE -fsanitize=${CHUNKLLM_SANITIZE})
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()
