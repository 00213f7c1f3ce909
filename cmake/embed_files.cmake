# Writes OUTPUT: the bytes of FILES (by commas) and FUNCTION, which finds them by name. Called by metarm_embed.
string(REPLACE "," ";" files "${FILES}")
set(arrays "")
set(cases "")
set(number 0)
foreach(file IN LISTS files)
  get_filename_component(name ${file} NAME)
  file(READ ${file} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(APPEND arrays "constexpr unsigned char kFile${number}[] = {${bytes}0};\n")
  string(APPEND cases "  if (name == \"${name}\") return {reinterpret_cast<const char*>(kFile${number}), sizeof kFile${number} - 1};\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE ${OUTPUT} "#include <string_view>

#include \"metarm/base/error.h\"

namespace metarm {
namespace {
${arrays}}  // namespace

std::string_view ${FUNCTION}(std::string_view name);
std::string_view ${FUNCTION}(std::string_view name) {
${cases}  fail_internal(\"${FUNCTION}: expected a file that the program holds, got {}\", name);
}

}  // namespace metarm
")
