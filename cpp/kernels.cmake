# mlkit_kernel(TARGET SOURCE): compile one kernel source once for each instruction set.
#
# SOURCE is compiled with MLKIT_ISA set to `baseline`, `avx2` or `avx512`, and has to put all
# that it defines into a namespace of that name. It must not use inline functions or templates
# from headers outside that namespace (the standard library's included): the linker keeps one
# copy of an inline function for everybody, and that may be the one with AVX-512 in it.
set(MLKIT_FLAGS_avx2 -mavx2 -mbmi -mbmi2 -mpopcnt)
set(MLKIT_FLAGS_avx512
    -mavx512f -mavx512dq -mavx512bw -mavx512vl -mavx2 -mbmi -mbmi2 -mpopcnt
    -mprefer-vector-width=512)

function(mlkit_kernel target source)
  set(sets baseline)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    list(APPEND sets avx2 avx512)
  endif()
  foreach(isa IN LISTS sets)
    set(object ${target}_${isa})
    add_library(${object} OBJECT ${source})
    target_link_libraries(${object} PRIVATE mlkit_flags)
    target_compile_definitions(${object} PRIVATE MLKIT_ISA=${isa} MLKIT_ISA_${isa}=1)
    target_compile_options(${object} PRIVATE ${MLKIT_OPTIMIZE} ${MLKIT_FLAGS_${isa}} ${ARGN})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${object}>)
  endforeach()
endfunction()
