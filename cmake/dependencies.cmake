find_package(nlohmann_json REQUIRED)
find_package(fmt REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CURL REQUIRED)
find_package(ICU REQUIRED COMPONENTS uc)
find_package(tomlplusplus REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)
find_package(OpenSSL REQUIRED)
find_package(SQLite3 REQUIRED)
# A training allocates activations of ever new sizes; the C library's allocator keeps the gaps between them, up to twice the memory.
pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)

# Several ranks talk over MPI, where there is one; without, a run is one process.
set(MPI_CXX_SKIP_MPICXX ON)
find_package(MPI QUIET COMPONENTS CXX)
option(METARM_MPI "Build runs of several ranks" ${MPI_CXX_FOUND})
if(METARM_MPI AND NOT MPI_CXX_FOUND)
  message(FATAL_ERROR "METARM_MPI: found no MPI; install libopenmpi-dev and openmpi-bin, or leave the option out")
endif()

# Tests are built where GoogleTest is installed.
find_package(GTest QUIET)
enable_testing()

# LibTorch comes with the Python package: ask the interpreter where it lies.
if(METARM_TORCH)
  set(METARM_PYTHON "${CMAKE_SOURCE_DIR}/.venv/bin/python" CACHE FILEPATH "Python that has torch")
  execute_process(COMMAND ${METARM_PYTHON} -c "import torch; print(torch.utils.cmake_prefix_path)"
                  OUTPUT_VARIABLE torch_prefix OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${METARM_PYTHON} has no torch; './run build' sets it up, or give -DMETARM_PYTHON=PATH")
  endif()
  find_package(Torch REQUIRED PATHS ${torch_prefix} NO_DEFAULT_PATH)
  add_library(metarm_torch INTERFACE)
  # The wheel carries headers of another fmt than the installed one, without its library: let the installed one be found first.
  get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
  file(CREATE_LINK ${fmt_include}/fmt ${CMAKE_BINARY_DIR}/include/fmt SYMBOLIC)
  target_include_directories(metarm_torch SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/include ${TORCH_INCLUDE_DIRS})
  target_link_libraries(metarm_torch INTERFACE ${TORCH_LIBRARIES})
  separate_arguments(torch_flags UNIX_COMMAND "${TORCH_CXX_FLAGS}")
  target_compile_options(metarm_torch INTERFACE ${torch_flags})
  # at::parallel_for is in torch's headers: without OpenMP it compiles to a loop on one thread. The runtime must be the one that torch has.
  file(GLOB torch_openmp ${TORCH_INSTALL_PREFIX}/lib/libgomp*.so*)
  if(NOT torch_openmp)
    find_package(OpenMP REQUIRED COMPONENTS CXX)
    set(torch_openmp OpenMP::OpenMP_CXX)
  endif()
  target_compile_options(metarm_torch INTERFACE -fopenmp)
  target_link_libraries(metarm_torch INTERFACE ${torch_openmp})
endif()
