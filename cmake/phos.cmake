# SPDX-License-Identifier: Apache-2.0
# Settings and helpers shared by every native part.

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "Build type" FORCE)
endif()

# Lines and functions in backtraces, without types of variables: a third less time to build.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1 -DNDEBUG")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Where things are put. TypeScript finds them by these names (src/model/locate.ts).
set(PHOS_CLIENT_LIB_DIR "${CMAKE_BINARY_DIR}/lib/client")
set(PHOS_SIM_LIB_DIR "${CMAKE_BINARY_DIR}/lib/sim")
set(PHOS_ADDON_DIR "${CMAKE_BINARY_DIR}/addon")
set(PHOS_BIN_DIR "${CMAKE_BINARY_DIR}/bin")
set(PHOS_TEST_DIR "${CMAKE_BINARY_DIR}/test")

find_program(PHOS_CCACHE ccache)
if(PHOS_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER "${PHOS_CCACHE}")
  set(CMAKE_CXX_COMPILER_LAUNCHER "${PHOS_CCACHE}")
endif()

find_package(Threads REQUIRED)

# Everything written here links to this target: include path, warnings, sanitizer.
add_library(phos_options INTERFACE)
target_include_directories(phos_options INTERFACE "${PROJECT_SOURCE_DIR}/native/include")
target_compile_options(phos_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Werror -fno-omit-frame-pointer)
target_link_options(phos_options INTERFACE -Wl,-z,relro,-z,now)
# g++ is the compiler of this project; clang, which only fuzzes it, has warnings of its own.
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(phos_options INTERFACE -w)
endif()
target_link_libraries(phos_options INTERFACE Threads::Threads)

if(PHOS_SANITIZE STREQUAL "address")
  set(phos_sanitizers address,undefined)
elseif(PHOS_SANITIZE STREQUAL "thread")
  set(phos_sanitizers thread)
elseif(PHOS_SANITIZE STREQUAL "fuzz")
  set(phos_sanitizers fuzzer-no-link,address,undefined)
elseif(NOT PHOS_SANITIZE STREQUAL "none")
  message(FATAL_ERROR
    "PHOS_SANITIZE is '${PHOS_SANITIZE}'; it may be none, address, thread or fuzz")
endif()
if(phos_sanitizers)
  # Undefined behaviour ends the test: a message that scrolls by is not a failure.
  # -Wno-maybe-uninitialized: g++ 12 reports false ones when the sanitizers inline.
  # -O1: half the time to build, which is most of what these tests take.
  target_compile_options(phos_options INTERFACE
    -fsanitize=${phos_sanitizers} -fno-sanitize-recover=all -O1
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(phos_options INTERFACE -fsanitize=${phos_sanitizers})
endif()

# phos_add_test(NAME name SOURCES a.cc ... [LIBRARIES x ...])
# A GoogleTest program, registered test by test with ctest, each with a deadline.
function(phos_add_test)
  cmake_parse_arguments(arg "" "NAME;TIMEOUT" "SOURCES;LIBRARIES" ${ARGN})
  if(NOT PHOS_BUILD_TESTS)
    return()
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  add_executable(${arg_NAME} ${arg_SOURCES})
  target_link_libraries(${arg_NAME} PRIVATE
    ${arg_LIBRARIES} phos_options GTest::gmock GTest::gtest GTest::gtest_main)
  set_target_properties(${arg_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PHOS_TEST_DIR}")
  # The tests themselves need no speed, and g++ takes less time over them.
  target_compile_options(${arg_NAME} PRIVATE -O1)
  gtest_discover_tests(${arg_NAME}
    DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT ${arg_TIMEOUT})
endfunction()

# phos_add_cuda_program(NAME name FOLDER folder SOURCES a.c ...)
# An ordinary program over the driver API, linked with -lcuda as any is, that knows nothing of
# phos: build/FOLDER/name. Which libcuda.so.1 it gets is decided when it is started. It is linked
# against a library that has every name of the API and does nothing, as the one that the CUDA
# toolkit ships for this purpose, so that building it needs no driver.
if(PHOS_SANITIZE STREQUAL "none")
  set(phos_abi "${PROJECT_SOURCE_DIR}/native/include/phos/cuda_abi.h")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${phos_abi}")
  file(STRINGS "${phos_abi}" phos_prototypes REGEX "^CUresult cu[A-Za-z0-9_]+\\(")
  set(phos_names "")
  foreach(prototype IN LISTS phos_prototypes)
    string(REGEX REPLACE "^CUresult (cu[A-Za-z0-9_]+)\\(.*" "\\1" name "${prototype}")
    string(APPEND phos_names "void ${name}(void);\nvoid ${name}(void) {}\n")
  endforeach()
  file(CONFIGURE OUTPUT "${CMAKE_BINARY_DIR}/link/names.c" CONTENT "${phos_names}" @ONLY)
  add_library(phos_cuda_link SHARED "${CMAKE_BINARY_DIR}/link/names.c")
  set_target_properties(phos_cuda_link PROPERTIES
    C_VISIBILITY_PRESET default
    OUTPUT_NAME cuda VERSION 1 SOVERSION 1
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/link")
endif()

function(phos_add_cuda_program)
  cmake_parse_arguments(arg "" "NAME;FOLDER" "SOURCES" ${ARGN})
  # A sanitizer's runtime wants to be the first library of a process, and so does libphos.so.
  if(NOT PHOS_SANITIZE STREQUAL "none")
    return()
  endif()
  add_executable(${arg_NAME} ${arg_SOURCES})
  target_compile_definitions(${arg_NAME} PRIVATE _GNU_SOURCE)
  target_link_libraries(${arg_NAME} PRIVATE phos_options phos_cuda_link)
  set_target_properties(${arg_NAME} PROPERTIES
    SKIP_BUILD_RPATH ON
    RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/${arg_FOLDER}")
endfunction()
