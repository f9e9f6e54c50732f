# The program, what it looks for beside itself (base/program_files.h), and what it may be used with.
include(GNUInstallDirs)

install(TARGETS chunkllm RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(PROGRAMS script/report script/score script/choice-items DESTINATION ${CMAKE_INSTALL_DATADIR}/chunkllm)
install(DIRECTORY script/reporting script/choice_items DESTINATION ${CMAKE_INSTALL_DATADIR}/chunkllm
        FILES_MATCHING PATTERN "*.py")
file(GLOB adapters RELATIVE ${PROJECT_SOURCE_DIR} models/*-adapter)
foreach(adapter IN LISTS adapters)
  install(DIRECTORY ${adapter} DESTINATION ${CMAKE_INSTALL_DATADIR}/chunkllm/adapters)
endforeach()
