// What a rank does by itself, before it meets the others: read its command line, look for its device. If that fails,
// the others must not wait for it, and what all ranks find wrong is told once.
#pragma once

#include <functional>

#include "ringtron/comm/rendezvous/rendezvous.h"
#include "ringtron/launch/launch_environment.h"

namespace ringtron {

// Where and as whom the rank meets the others; with the default timeout.
RendezvousOptions rendezvous_options(const LaunchEnvironment& environment);

// Runs `action`. If it throws, the other ranks are told why, those who wait end with it, and the error goes on to the
// caller: with the rank in its message where it is not rank 0's, and as one that is ReportedElsewhere (agreement.h) if
// it has been printed, by this rank or by another one that fails with the same words. While ranks are missing it stays,
// as long as they would wait for it (the default of --distributed-timeout-minutes), and says so after 10 s; a signal
// ends it.
void before_rendezvous(const LaunchEnvironment& environment, const std::function<void()>& action);

}  // namespace ringtron
