// RT_CHECK: expected, got, what to do. For what must hold unless Ringtron itself is wrong; for what a user can get
// wrong, throw ConfigError with a message of its own.
//
//   RT_CHECK(ready, "exchange() before start()");
//   RT_CHECK_EQ(q.size(2), heads, "heads of q");
//
// Prefixed, because LibTorch's c10/util/logging_is_not_google_glog.h defines plain CHECK.
#pragma once

#include <fmt/format.h>

#include <string>

namespace ringtron::internal {
[[noreturn]] void check_failed(const char* file, int line, const std::string& message);
}  // namespace ringtron::internal

#define RT_CHECK(condition, ...)                                                                                \
  do {                                                                                                          \
    if (!(condition)) [[unlikely]]                                                                              \
      ::ringtron::internal::check_failed(__FILE__, __LINE__, ::fmt::format(__VA_ARGS__) + " [" #condition "]"); \
  } while (false)

#define RT_CHECK_COMPARE(a, op, b, what)                                                                             \
  do {                                                                                                               \
    const auto& rt_a = (a);                                                                                          \
    const auto& rt_b = (b);                                                                                          \
    if (!(rt_a op rt_b)) [[unlikely]]                                                                                \
      ::ringtron::internal::check_failed(                                                                            \
          __FILE__, __LINE__, ::fmt::format("{}: expected " #a " " #op " " #b ", got {} and {}", what, rt_a, rt_b)); \
  } while (false)

#define RT_CHECK_EQ(a, b, what) RT_CHECK_COMPARE(a, ==, b, what)
#define RT_CHECK_LT(a, b, what) RT_CHECK_COMPARE(a, <, b, what)
#define RT_CHECK_LE(a, b, what) RT_CHECK_COMPARE(a, <=, b, what)
#define RT_CHECK_GE(a, b, what) RT_CHECK_COMPARE(a, >=, b, what)
