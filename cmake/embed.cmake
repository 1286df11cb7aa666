# Writes the C source of ml_chart_library: cmake -DINPUT=<file or DYGRAPHS-NOTFOUND> -DOUTPUT=<file> -P embed.cmake
if(EXISTS "${INPUT}")
  file(READ "${INPUT}" hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  set(body "static const unsigned char text[] = {${bytes}};\n
const char *ml_chart_library(size_t *bytes) {
  *bytes = sizeof text;
  return (const char *)text;
}\n")
else()
  set(body "const char *ml_chart_library(size_t *bytes) {
  *bytes = 0;
  return NULL;
}\n")
endif()
file(WRITE "${OUTPUT}" "/* Made by cmake/embed.cmake from ${INPUT}. */\n#include \"system/system.h\"\n\n${body}")
