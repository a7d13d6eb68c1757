// The two files of a corpus, looked for by name. Internal to data/.
#pragma once

#include <string>

namespace ringtron {

// Of PREFIX and ".idx" or ".bin". Throws ConfigError that says what to give where there is no such file.
std::string corpus_file(const std::string& prefix, const char* extension);

}  // namespace ringtron
