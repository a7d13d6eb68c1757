#include "ringtron/base/check.h"

#include <cstring>

#include "ringtron/base/error.h"

namespace ringtron::internal {

void check_failed(const char* file, int line, const std::string& message) {
  const char* base = std::strstr(file, "ringtron/");  // the same text on every machine
  throw InternalError(fmt::format("{} ({}:{})", message, base != nullptr ? base : file, line));
}

}  // namespace ringtron::internal
