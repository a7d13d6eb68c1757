// What every program settles with its surroundings before it does anything else, and where it runs.
#pragma once

#include <string>

namespace ringtron {

// Called once by run_main, before threads and files.
//
// - File descriptors 0, 1 and 2 are taken: by what was given, else by /dev/null, so that no file of ours gets one of
//   these numbers, and lines for people into it. What should go to a closed stderr goes to stdout.
// - A closed pipe (SIGPIPE) and a file-size limit (SIGXFSZ) become errors of the write that meets them.
// - A missing stdout is told on stderr.
//
// Before that, as soon as the process begins, a working folder that is gone ends it with a line and exit code 2.
void prepare_process();

// Seconds since this process was made; 0 where the system does not tell.
double process_age();

// The name of this machine for messages and files, or "unknown" where the system tells none.
std::string host_name();

}  // namespace ringtron
