# Lets a shared library show the symbols of a pattern and no others: templates of the standard library would be seen
# otherwise, whatever the visibility of the code that uses them. `version` names them, or is empty.
function(vaecomp_export_only target pattern version)
  if(APPLE)
    set(list ${CMAKE_CURRENT_BINARY_DIR}/${target}.exports)
    file(CONFIGURE OUTPUT ${list} CONTENT "_${pattern}\n")
    target_link_options(${target} PRIVATE LINKER:-exported_symbols_list,${list})
  else()
    set(list ${CMAKE_CURRENT_BINARY_DIR}/${target}.map)
    file(CONFIGURE OUTPUT ${list} CONTENT "${version} { global: ${pattern}; local: *; };\n")
    target_link_options(${target} PRIVATE LINKER:--version-script=${list})
  endif()
  set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS ${list})
endfunction()
