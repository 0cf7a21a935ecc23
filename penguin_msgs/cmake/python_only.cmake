# SPDX-License-Identifier: Apache-2.0
# Included by CMakeLists.txt with PENGUIN_MSGS_PYTHON_ONLY, after all packages were found and before interfaces are generated.
# Changes `interfaces` and the list of generators.

# Every package that is found registers its generator in this list. rclpy loads C type supports through Python modules;
# rmw_fastrtps_cpp wants that of Fast DDS, and introspection to describe types to its peers. What is left out is for C++.
set(generators rosidl_generator_type_description rosidl_generator_c rosidl_typesupport_fastrtps_c
  rosidl_typesupport_introspection_c rosidl_typesupport_c rosidl_generator_py)
list(JOIN generators "|" generators)
list(FILTER AMENT_EXTENSIONS_rosidl_generate_idl_interfaces INCLUDE REGEX "^(${generators}):")

# Each generator parses the definitions anew, and most of that time goes into their comments. They are left out of the
# copies that are generated from; comments are no part of a type or its hash.
set(plain_folder "${CMAKE_CURRENT_BINARY_DIR}/plain_interfaces")
set(plain_interfaces "")
foreach(interface IN LISTS interfaces)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${interface}")
  file(READ "${CMAKE_CURRENT_SOURCE_DIR}/${interface}" text)
  string(REGEX REPLACE "[ \t]*#[^\n]*" "" text "${text}")
  string(REGEX REPLACE "\n\n+" "\n" text "${text}")
  file(CONFIGURE OUTPUT "${plain_folder}/${interface}" CONTENT "${text}" @ONLY)
  list(APPEND plain_interfaces "${plain_folder}:${interface}")
endforeach()
set(interfaces ${plain_interfaces})
