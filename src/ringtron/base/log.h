// Lines for people. Results go to stdout, warnings and errors to stderr; a line is written with one write(2), so that
// lines of several ranks do not mix.
//
// A line that cannot be written (a closed pipe, a full disk) ends nothing: the first such is told on stderr, each later
// line is tried again, and when lines are written again their loss is told among them.
#pragma once

#include <fmt/format.h>

#include <string_view>

namespace ringtron {

// Each appends the newline and flushes. Thread-safe.
void print_line(std::string_view line);  // stdout
void warn_line(std::string_view line);   // stderr, prefixed "WARNING: "

template <class... Args>
void print_line(fmt::format_string<Args...> format, Args&&... args)
  requires(sizeof...(Args) > 0)
{
  print_line(std::string_view(fmt::format(format, std::forward<Args>(args)...)));
}

template <class... Args>
void warn_line(fmt::format_string<Args...> format, Args&&... args)
  requires(sizeof...(Args) > 0)
{
  warn_line(std::string_view(fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace ringtron
