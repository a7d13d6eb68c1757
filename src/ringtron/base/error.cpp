#include "ringtron/base/error.h"

#include <cstdio>
#include <cstring>
#include <new>
#include <string>

#include "ringtron/base/process.h"
#include "ringtron/base/report_error.h"
#include "ringtron/base/shown_message.h"

namespace ringtron {
namespace {

const char* program = "ringtron";  // as run_main was told

int report(const char* kind, const char* what, int code) {
  std::fflush(stdout);
  const std::string text = shown_message(what);
  // The last word goes where someone may still read it.
  const bool told = std::fprintf(stderr, "%s: %s%s\n", program, kind, text.c_str()) >= 0 && std::fflush(stderr) == 0;
  if (!told) {
    std::fprintf(stdout, "%s: %s%s\n", program, kind, text.c_str());
    std::fflush(stdout);
  }
  return code;
}

}  // namespace

int report_current_error() noexcept {
  try {
    throw;
  } catch (const ConfigError& e) {
    return report("", e.what(), kExitUsage);
  } catch (const CommError& e) {
    return report("communication failed: ", e.what(), kExitFailure);
  } catch (const IoError& e) {
    return report("", e.what(), kExitFailure);
  } catch (const NumericError& e) {
    return report("", e.what(), kExitFailure);
  } catch (const InternalError& e) {
    return report("internal error (please report it): ", e.what(), kExitFailure);
  } catch (const std::bad_alloc& e) {
    // One that says more than its type is printed as it is.
    const bool bare =
        dynamic_cast<const std::bad_array_new_length*>(&e) != nullptr || std::strcmp(e.what(), "std::bad_alloc") == 0;
    return bare ? report("out of memory", ": the system gave no more. Smaller sizes need less", kExitFailure)
                : report("", e.what(), kExitFailure);
  } catch (const std::exception& e) {
    return report("unexpected error: ", e.what(), kExitFailure);
  } catch (...) {
    return report("unexpected error of unknown type", "", kExitFailure);
  }
}

int run_main(const char* name, const std::function<int()>& body) noexcept {
  program = name;
  try {
    prepare_process();
    return body();
  } catch (...) {
    return report_current_error();
  }
}

}  // namespace ringtron
