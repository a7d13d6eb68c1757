// The end of a rank that cannot start: it has not met the others, and they must not wait for it.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "ringtron/comm/rendezvous/rendezvous.h"

namespace ringtron {

// Tells the others why. Rank 0 opens the server for them and stays until all have heard `why`; another rank tells the
// server. Both stay for options.timeout, as the others would wait for them, and then give up without an error: a rank
// that starts late hears it as well. Where that takes longer than `soon`, `still_waits` is called once. True if another
// rank has said the same already.
bool report_start_failure(RendezvousOptions options, const std::string& why, const std::function<void()>& still_waits,
                          std::chrono::milliseconds soon = std::chrono::seconds(10));

}  // namespace ringtron
