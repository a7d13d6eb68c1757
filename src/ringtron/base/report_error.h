// An error told now, for what still has something to do before it ends.
#pragma once

namespace ringtron {

// Inside a handler: prints what was caught as run_main() would. Returns the exit code.
int report_current_error() noexcept;

}  // namespace ringtron
