// The front door of the installed library: what a program that trains needs. The doors to single parts are headers of
// their own; docs/library.md lists them.
#pragma once

#include "ringtron/program/program.h"
#include "ringtron/program/training.h"
