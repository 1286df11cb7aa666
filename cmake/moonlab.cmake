# Flags and the two ways to add code: ml_room(NAME) for a room of core, ml_simd(NAME) for its hot loops.

find_package(PkgConfig REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS C)
find_package(ZLIB REQUIRED)
find_package(LibLZMA REQUIRED)
pkg_check_modules(JANSSON REQUIRED jansson)
pkg_check_modules(SQLITE REQUIRED sqlite3)
find_package(Threads REQUIRED) # the heartbeat of leases
pkg_check_modules(MICROHTTPD libmicrohttpd) # optional: without it there is no `moonlab serve`
pkg_check_modules(CURL libcurl>=7.85) # optional: without it no model behind HTTP is asked
find_file(DYGRAPHS dygraph.min.js PATHS /usr/share/javascript/dygraphs NO_DEFAULT_PATH) # optional: the curves of pages

# The OpenMP variant of OpenBLAS by its own folder: both variants share a soname.
find_library(OPENBLAS_LIBRARY NAMES openblas
  HINTS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp /usr/lib/${CMAKE_C_LIBRARY_ARCHITECTURE}/openblas-openmp
  PATH_SUFFIXES openblas-openmp REQUIRED)
find_path(OPENBLAS_INCLUDE cblas.h
  HINTS /usr/include/${CMAKE_C_LIBRARY_ARCHITECTURE}/openblas-openmp PATH_SUFFIXES openblas-openmp REQUIRED)
get_filename_component(OPENBLAS_FOLDER ${OPENBLAS_LIBRARY} DIRECTORY)

add_compile_definitions(_GNU_SOURCE)
add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wdouble-promotion -Wstrict-prototypes
  -Wmissing-prototypes -fvisibility=hidden -ffp-contract=off -fno-math-errno)
if(MOONLAB_WERROR)
  add_compile_options(-Werror)
endif()
if(MOONLAB_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
endif()
if(MOONLAB_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()

set_property(GLOBAL PROPERTY ML_ROOMS "")

# A room: every .c of core/NAME in one object library ml_<name>, plus its simd/ folder.
function(ml_room name)
  string(REPLACE "/" "_" target ${name})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/core/${name}/*.c)
  if(NOT sources)
    return()
  endif()
  add_library(ml_${target} OBJECT ${sources})
  target_compile_options(ml_${target} PRIVATE -fopenmp)
  target_include_directories(ml_${target} PRIVATE ${CMAKE_SOURCE_DIR}/core ${OPENBLAS_INCLUDE} ${JANSSON_INCLUDE_DIRS}
    ${SQLITE_INCLUDE_DIRS})
  set_property(GLOBAL APPEND PROPERTY ML_ROOMS ml_${target})
  ml_simd(${name})
endfunction()

# Hot loops: each .c of core/NAME/simd is ordinary C over `real`, compiled per dtype and per instruction set; ML_FN(name)
# becomes ml_name_<f32|f64>_<portable|avx2|avx512>. Only here the compiler may contract a*b+c.
function(ml_simd name)
  string(REPLACE "/" "_" target ${name})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/core/${name}/simd/*.c)
  if(NOT sources)
    return()
  endif()
  set(isas portable)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(APPEND isas avx2 avx512)
  endif()
  foreach(isa ${isas})
    set(optimize -O3)
    if(MOONLAB_SANITIZE) # instrumented loops gain nothing from vectorisation and take minutes to compile
      set(optimize -O1)
    endif()
    set(flags ${optimize} -ffp-contract=fast -fno-trapping-math -fno-math-errno)
    set(level 0)
    if(isa STREQUAL avx2)
      list(APPEND flags -mavx2 -mfma -mprefer-vector-width=256)
      set(level 1)
    elseif(isa STREQUAL avx512)
      list(APPEND flags -mavx2 -mfma -mavx512f -mavx512vl -mavx512dq -mavx512bw -mprefer-vector-width=512)
      set(level 2)
    endif()
    foreach(dtype f32 f64)
      set(lib ml_${target}_simd_${dtype}_${isa})
      add_library(${lib} OBJECT ${sources})
      target_compile_options(${lib} PRIVATE ${flags})
      target_compile_definitions(${lib} PRIVATE ML_REAL_${dtype} ML_ISA_LEVEL=${level} ML_SUFFIX=${dtype}_${isa})
      target_include_directories(${lib} PRIVATE ${CMAKE_SOURCE_DIR}/core)
      set_property(GLOBAL APPEND PROPERTY ML_ROOMS ${lib})
    endforeach()
  endforeach()
endfunction()

# What libmoonlab and the core tests link besides the rooms.
set(ML_LINK ${OPENBLAS_LIBRARY} OpenMP::OpenMP_C ZLIB::ZLIB LibLZMA::LibLZMA ${JANSSON_LINK_LIBRARIES} ${SQLITE_LINK_LIBRARIES}
  ${MICROHTTPD_LINK_LIBRARIES} ${CURL_LINK_LIBRARIES} Threads::Threads m dl)
