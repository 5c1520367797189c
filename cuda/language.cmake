# nvcc, and what the project says to it: included at the top, for the plugin here and for tests/gpu.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(GPTQ_NVCC nvcc HINTS ENV CUDA_PATH
    PATHS /usr/local/cuda ${PROJECT_SOURCE_DIR}/build/cuda-toolkit PATH_SUFFIXES bin
    DOC "The CUDA compiler")
  if(NOT GPTQ_NVCC)
    message(FATAL_ERROR "GPTQ_CUDA needs nvcc of CUDA 13, or newer: install it, or run cuda/get-toolkit.sh")
  endif()
  set(CMAKE_CUDA_COMPILER ${GPTQ_NVCC})
endif()
# code for Ampere (A100; A10 and RTX 30), Ada, Hopper and Blackwell (B200; RTX 50), and PTX for what comes after
set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90-real 100-real 120 CACHE STRING "GPUs to compile for")
set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER} CACHE FILEPATH "")
enable_language(CUDA)
if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13)
  message(FATAL_ERROR "${CMAKE_CUDA_COMPILER} is of CUDA ${CMAKE_CUDA_COMPILER_VERSION}, wanted 13 or newer: "
    "CUDACXX=/path/to/nvcc names another, where the build folder is new")
endif()
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 knows of none
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)

add_library(gptq_cuda_language INTERFACE)
list(JOIN GPTQ_HARDENING "," hardening)
target_compile_options(gptq_cuda_language INTERFACE
  "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Xcompiler=-Wall,-Wextra,-fno-gnu-unique --compress-mode=size>"
  "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${GPTQ_HARDEN}>>:SHELL:-Xcompiler=${hardening}>"
  "$<$<AND:$<COMPILE_LANGUAGE:CUDA>,$<BOOL:${GPTQ_WERROR}>>:SHELL:-Werror all-warnings -Xcompiler=-Werror>")
target_include_directories(gptq_cuda_language INTERFACE ${PROJECT_SOURCE_DIR})
target_include_directories(gptq_cuda_language SYSTEM INTERFACE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
# For folders with sources of both languages: what the project says to the C++ compiler is for that alone. nvcc has its own
# words for it, and hands on what is of use there, too.
macro(gptq_cuda_folder)
  get_directory_property(options COMPILE_OPTIONS)
  set_directory_properties(PROPERTIES COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:${options}>")
endmacro()
