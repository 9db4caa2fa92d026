# SPDX-License-Identifier: Apache-2.0
# Two things that CMake refuses and that only occur with ROS 2 from PyPI wheels. On a normal ROS 2
# install this finds nothing to do.
#
# 1. The wheels export include directories of the machine they were built on. Imported targets that
#    name missing directories are an error: such directories are dropped.
# 2. A virtual environment inside the checkout puts NumPy's headers below the source directory, and an
#    exported target must not name those. They are kept for the build and left out of the export.
function(admn_mend_includes)
  get_property(imported DIRECTORY PROPERTY IMPORTED_TARGETS)
  get_property(own DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  foreach(target IN LISTS imported own)
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "UTILITY")
      continue()
    endif()
    get_target_property(dirs ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT dirs)
      continue()
    endif()
    set(kept "")
    foreach(dir IN LISTS dirs)
      if(dir MATCHES "\\$<")
        list(APPEND kept "${dir}")
      elseif(NOT EXISTS "${dir}")
        continue()
      elseif(target IN_LIST own)
        list(APPEND kept "$<BUILD_INTERFACE:${dir}>")
      else()
        list(APPEND kept "${dir}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
  endforeach()
endfunction()
cmake_language(DEFER CALL admn_mend_includes)
