// Lines that say what is wrong; only the first ones are kept, so that the list of a broken schedule stays readable.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

namespace ringtron {

class FaultList {
 public:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    if (count_++ < kMost) lines_.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  std::vector<std::string> take() {
    if (count_ > kMost) lines_.push_back(fmt::format("... and {} more", count_ - kMost));
    return std::move(lines_);
  }

 private:
  static constexpr int kMost = 60;
  int count_ = 0;
  std::vector<std::string> lines_;
};

}  // namespace ringtron
