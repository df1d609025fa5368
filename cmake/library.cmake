# The installed libraries, vaecomp.h over the objects that read archives, and how others find them.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(headers ${PROJECT_SOURCE_DIR}/csrc/include)
file(STRINGS ${headers}/vaecomp.h abi_version REGEX "define VAECOMP_ABI_VERSION")
string(REGEX MATCH "[0-9]+$" abi_version "${abi_version}")

add_library(vaecomp SHARED $<TARGET_OBJECTS:vaecomp_core>)
add_library(vaecomp_static STATIC $<TARGET_OBJECTS:vaecomp_core>)
# The names under which the package has them.
add_library(vaecomp::vaecomp ALIAS vaecomp)
add_library(vaecomp::static ALIAS vaecomp_static)
set_target_properties(vaecomp PROPERTIES SOVERSION ${abi_version})
set_target_properties(vaecomp_static PROPERTIES OUTPUT_NAME vaecomp EXPORT_NAME static)
vaecomp_export_only(vaecomp "vaecomp_*" VAECOMP_${abi_version})
target_link_libraries(vaecomp PRIVATE vaecomp_options Threads::Threads)
target_link_libraries(vaecomp_static PUBLIC Threads::Threads INTERFACE $<BUILD_INTERFACE:vaecomp_options>)
foreach(library vaecomp vaecomp_static)
  set_target_properties(${library} PROPERTIES LINKER_LANGUAGE CXX)
  target_include_directories(${library} INTERFACE $<BUILD_INTERFACE:${headers}>
    $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()

if(SKBUILD AND NOT APPLE)
  # Wheels hold no links: the file that `-lvaecomp` finds tells the linker which one it is.
  set(namelink NAMELINK_SKIP)
  file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/namelink/libvaecomp.so
    CONTENT "INPUT($<TARGET_SONAME_FILE_NAME:vaecomp>)\n")
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/namelink/libvaecomp.so DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(TARGETS vaecomp vaecomp_static EXPORT vaecomp
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ${namelink}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${headers}/vaecomp.h ${headers}/vaecomp.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# What a program in C needs of the C++ compiler to link the static library.
set(cxx_runtime ${CMAKE_CXX_IMPLICIT_LINK_LIBRARIES})
list(FILTER cxx_runtime INCLUDE REGEX "^(stdc\\+\\+|c\\+\\+|c\\+\\+abi|m)$")
list(REMOVE_DUPLICATES cxx_runtime)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/vaecomp)
configure_package_config_file(cmake/vaecompConfig.cmake.in vaecompConfig.cmake INSTALL_DESTINATION ${package}
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(vaecompConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(EXPORT vaecomp FILE vaecompTargets.cmake NAMESPACE vaecomp:: DESTINATION ${package})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vaecompConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/vaecompConfigVersion.cmake
  DESTINATION ${package})

# Relative, so that the directory can be moved.
file(RELATIVE_PATH pc_includedir ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_FULL_INCLUDEDIR})
list(TRANSFORM cxx_runtime PREPEND -l OUTPUT_VARIABLE pc_runtime)
list(JOIN pc_runtime " " pc_runtime)
configure_file(cmake/vaecomp.pc.in vaecomp.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/vaecomp.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
