# Installs the library by component (runtime, cuda, dev, tools, doc), with what pkg-config and find_package read.
include(CMakePackageConfigHelpers)
set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/gptq)
set(pages ${PROJECT_BINARY_DIR}/samples/cli/pages)

if(BUILD_SHARED_LIBS)
  install(TARGETS gptq EXPORT gptqSharedTargets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime NAMELINK_COMPONENT dev)
  install(EXPORT gptqSharedTargets NAMESPACE gptq:: DESTINATION ${config_folder} COMPONENT dev)
endif()
if(GPTQ_CUDA)
  install(TARGETS gptq_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/gptq COMPONENT cuda)
endif()
if(NOT GPTQ_SANITIZE)
  install(TARGETS gptq_static EXPORT gptqStaticTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
  install(EXPORT gptqStaticTargets NAMESPACE gptq:: DESTINATION ${config_folder} COMPONENT dev)
endif()
install(FILES include/gptq.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/gptqConfig.cmake.in gptqConfig.cmake
  INSTALL_DESTINATION ${config_folder} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(gptqConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(FILES ${PROJECT_BINARY_DIR}/gptqConfig.cmake ${PROJECT_BINARY_DIR}/gptqConfigVersion.cmake
  DESTINATION ${config_folder} COMPONENT dev)

# gptq.pc finds its prefix from where it lies, however deep the library folder is
file(RELATIVE_PATH GPTQ_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
set(GPTQ_PC_LIBRARIES ${GPTQ_CXX_LIBRARIES} ${CMAKE_DL_LIBS})
list(TRANSFORM GPTQ_PC_LIBRARIES PREPEND -l)
list(APPEND GPTQ_PC_LIBRARIES ${CMAKE_THREAD_LIBS_INIT})
list(JOIN GPTQ_PC_LIBRARIES " " GPTQ_PC_LIBRARIES)
configure_file(${CMAKE_CURRENT_LIST_DIR}/gptq.pc.in gptq.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/gptq.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT dev)

if(GPTQ_BUILD_TOOL)
  install(TARGETS gptq_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tools)
  if(NOT GPTQ_DEBIAN)  # compressed there
    install(FILES ${pages}/man DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 RENAME gptq.1 COMPONENT tools)
  endif()
  set(zsh_folder $<IF:$<BOOL:${GPTQ_DEBIAN}>,vendor-completions,site-functions>)
  install(FILES ${pages}/bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME gptq COMPONENT tools)
  install(FILES ${pages}/zsh DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/${zsh_folder} RENAME _gptq COMPONENT tools)
  install(FILES ${pages}/fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d RENAME gptq.fish COMPONENT tools)
endif()

install(FILES README.md SECURITY.md docs/performance.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT doc)
if(NOT GPTQ_DEBIAN)  # each package has them there, by the names of Debian
  install(FILES CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT doc)
endif()
install(FILES samples/c/generate.c samples/c/chat.c samples/c/quantize.c samples/c/batch.c DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples COMPONENT doc)
# the reference is there when the target "docs" was built
install(DIRECTORY ${PROJECT_BINARY_DIR}/html DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT doc OPTIONAL)
