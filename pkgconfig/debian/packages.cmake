# The Debian packages libgptq0, libgptq-dev, gptq-tools and, with GPTQ_CUDA, libgptq-cuda: cmake --workflow --preset deb
set(epoch $ENV{SOURCE_DATE_EPOCH})
if(NOT epoch)
  execute_process(COMMAND git -C ${PROJECT_SOURCE_DIR} log -1 --format=%ct OUTPUT_VARIABLE epoch
    OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT epoch)
  file(TIMESTAMP ${PROJECT_SOURCE_DIR}/CHANGELOG.md epoch "%s" UTC)
endif()
find_program(DATE date REQUIRED)
find_program(GZIP gzip REQUIRED)
find_program(DPKG_GENSYMBOLS dpkg-gensymbols REQUIRED)
find_program(DPKG_SHLIBDEPS dpkg-shlibdeps REQUIRED)
execute_process(COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C ${DATE} -u -R -d @${epoch} OUTPUT_VARIABLE DEBIAN_DATE
  OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
set(DEBIAN_MAINTAINER "libgptq developers <libgptq@users.noreply.github.com>")
set(DEBIAN_REVISION 1)
set(made ${PROJECT_BINARY_DIR}/debian)
file(MAKE_DIRECTORY ${made})

# ---- files of the packages
function(compressed source result)  # gzip without name and time
  add_custom_command(OUTPUT ${made}/${result} COMMAND ${GZIP} -9nc ${source} > ${made}/${result} DEPENDS ${source}
    VERBATIM)
  list(APPEND compressed_files ${made}/${result})
  set(compressed_files ${compressed_files} PARENT_SCOPE)
endfunction()
configure_file(${CMAKE_CURRENT_LIST_DIR}/changelog.in ${made}/changelog @ONLY)
compressed(${made}/changelog changelog.Debian.gz)
compressed(${PROJECT_SOURCE_DIR}/CHANGELOG.md changelog.gz)
compressed(${PROJECT_BINARY_DIR}/samples/cli/pages/man gptq.1.gz)
add_custom_target(debian_files ALL DEPENDS ${compressed_files})
install(FILES ${made}/gptq.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT tools)

function(package_files package component)  # PACKAGE.copyright: of what that package alone has in it
  set(folder ${CMAKE_CURRENT_FUNCTION_LIST_DIR})
  set(copyright "")
  set(separator "")
  foreach(part copyright ${package}.copyright)
    if(EXISTS ${folder}/${part})
      set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${folder}/${part})
      file(READ ${folder}/${part} text)
      string(APPEND copyright "${separator}${text}")
      set(separator "\n")
    endif()
  endforeach()
  file(CONFIGURE OUTPUT ${made}/${package}/copyright CONTENT "@copyright@" @ONLY)
  install(FILES ${made}/changelog.Debian.gz ${made}/changelog.gz ${made}/${package}/copyright
    DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${package} COMPONENT ${component})
  set(overrides ${folder}/${package}.lintian-overrides)
  if(EXISTS ${overrides})
    install(FILES ${overrides} DESTINATION ${CMAKE_INSTALL_DATADIR}/lintian/overrides RENAME ${package}
      COMPONENT ${component})
  endif()
endfunction()
package_files(libgptq0 runtime)
package_files(libgptq-dev dev)
package_files(gptq-tools tools)
if(GPTQ_CUDA)
  package_files(libgptq-cuda cuda)
endif()

# ---- symbols: which version a program needs at least, from the @since of each function that it uses
include(${CMAKE_CURRENT_LIST_DIR}/symbols.cmake)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/gptq.h)
debian_symbols(${PROJECT_SOURCE_DIR}/include/gptq.h GPTQ_0 DEBIAN_SYMBOLS)
configure_file(${CMAKE_CURRENT_LIST_DIR}/libgptq0.symbols.in ${made}/libgptq0.symbols @ONLY)
add_custom_command(OUTPUT ${made}/symbols
  # -c4: an export that gptq.h lacks is an error, and so is one that went away
  COMMAND ${DPKG_GENSYMBOLS} -q -c4 -plibgptq0 -v${PROJECT_VERSION} -I${made}/libgptq0.symbols -e$<TARGET_FILE:gptq>
          -P${made} -O${made}/symbols
  DEPENDS gptq ${made}/libgptq0.symbols VERBATIM COMMENT "Checking the Debian symbols")
file(CONFIGURE OUTPUT ${made}/shlibs CONTENT "libgptq @PROJECT_VERSION_MAJOR@ libgptq0 (>= @PROJECT_VERSION@)\n" @ONLY)
file(CONFIGURE OUTPUT ${made}/triggers CONTENT "activate-noawait ldconfig\n")

# ---- what the libraries depend on. CPack would find it too, but then adds scripts that run ldconfig, which the trigger does
file(CONFIGURE OUTPUT ${made}/debian/control CONTENT "Source: libgptq\n\nPackage: libgptq0\nArchitecture: any\n")
function(library_depends target component)
  set(result ${made}/depends-${component})
  add_custom_command(OUTPUT ${result} COMMAND ${DPKG_SHLIBDEPS} -O -e$<TARGET_FILE:${target}> > ${result}
    DEPENDS ${target} WORKING_DIRECTORY ${made} VERBATIM COMMENT "Looking up the packages of the libraries in use")
  add_custom_target(debian_depends_${component} ALL DEPENDS ${result})
endfunction()
library_depends(gptq runtime)
if(GPTQ_CUDA)
  library_depends(gptq_cuda cuda)
endif()
add_custom_target(debian_control ALL DEPENDS ${made}/symbols)

# ---- CPack
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libgptq)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT ${DEBIAN_MAINTAINER})
set(CPACK_PACKAGE_DIRECTORY ${PROJECT_BINARY_DIR}/packages)
set(CPACK_PACKAGING_INSTALL_PREFIX ${CMAKE_INSTALL_PREFIX})
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
  WORLD_READ WORLD_EXECUTE)
configure_file(${CMAKE_CURRENT_LIST_DIR}/cpack.cmake.in ${made}/cpack.cmake @ONLY)
set(CPACK_PROJECT_CONFIG_FILE ${made}/cpack.cmake)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_ALL runtime dev doc tools)
set(CPACK_COMPONENT_DEV_GROUP development)
set(CPACK_COMPONENT_DOC_GROUP development)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SOURCE libgptq)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${DEBIAN_REVISION})
set(CPACK_DEBIAN_PACKAGE_HOMEPAGE ${PROJECT_HOMEPAGE_URL})
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(version "${PROJECT_VERSION}-${DEBIAN_REVISION}")

set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libgptq0)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_MULTIARCH same)  # CMake below 3.31 has no way to say it
set(CPACK_DEBIAN_RUNTIME_PACKAGE_CONTROL_EXTRA ${made}/symbols ${made}/shlibs ${made}/triggers)
set(CPACK_DEBIAN_RUNTIME_DESCRIPTION "GPTQ quantization and inference of language models
libgptq quantizes the language models of Hugging Face folders with GPTQ and
runs them, quantized or not, inside any process and without Python.

This package has the shared library.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libgptq-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_MULTIARCH same)
# those of the static library are needed by pkg-config in any case
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libgptq0 (= ${version}), libpcre2-dev, libutf8proc-dev")
set(CPACK_DEBIAN_DEVELOPMENT_DESCRIPTION "GPTQ of language models - development files
libgptq quantizes the language models of Hugging Face folders with GPTQ and
runs them, quantized or not, inside any process and without Python.

This package has the header, which is the manual too, the static library,
and what pkg-config and CMake read to find them.")

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME gptq-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_TOOLS_PACKAGE_MULTIARCH foreign)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR}/src)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libgptq0 (>= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_TOOLS_DESCRIPTION "GPTQ of language models - command line tool
The tool gptq quantizes the language models of Hugging Face folders with GPTQ,
measures what that costs in quality, and continues texts with them. What it
writes is a folder that transformers, GPTQModel and vLLM load.")

if(GPTQ_CUDA)
  list(APPEND CPACK_COMPONENTS_ALL cuda)
  set(CPACK_DEBIAN_CUDA_PACKAGE_NAME libgptq-cuda)
  set(CPACK_DEBIAN_CUDA_PACKAGE_SECTION non-free/libs)  # NVIDIA's runtime is in it
  set(CPACK_DEBIAN_CUDA_PACKAGE_MULTIARCH same)
  set(CPACK_DEBIAN_CUDA_PACKAGE_DEPENDS "libgptq0 (= ${version})")
  # Not a recommendation, which would be installed: in a container libcuda.so.1 is the host's, of the version of the kernel's
  # module, and NVIDIA's own installer is known to no package.
  set(CPACK_DEBIAN_CUDA_PACKAGE_SUGGESTS "libcuda1 (>= 580)")
  set(CPACK_DEBIAN_CUDA_DESCRIPTION "GPTQ of language models - plugin for NVIDIA GPUs
libgptq quantizes the language models of Hugging Face folders with GPTQ and
runs them, quantized or not, inside any process and without Python.

This package has the plugin that libgptq opens for the devices cuda and
cuda:N, GPUs from Ampere on. Of NVIDIA's software it needs the driver alone,
release 580 or newer; cuBLAS and cuSOLVER of CUDA 13 or 12 do what is large
where they are installed.")
endif()
include(CPack)
