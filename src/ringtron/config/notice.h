// What a command line or its resolution has to tell the user without stopping the run.
#pragma once

#include <string>

namespace ringtron {

struct Notice {
  enum class Kind { note, warning };
  Kind kind = Kind::note;
  std::string text;

  bool operator==(const Notice&) const = default;
};

}  // namespace ringtron
