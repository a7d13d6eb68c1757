// The file of --log-jsonl.
#pragma once

#include <string>

namespace ringtron {

class JsonLog {
 public:
  // Adds to a file that is there; makes its folder if it is absent. Throws IoError if it cannot be written.
  explicit JsonLog(std::string path);

  // A line that cannot be written ends nothing: it is told once on stderr, and lost.
  void write(const std::string& line);

 private:
  std::string path_;
  bool in_trouble_ = false;
};

}  // namespace ringtron
