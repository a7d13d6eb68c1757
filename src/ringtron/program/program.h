// A program of one's own: what its main() does around the work, so that it starts, fails and stops as pretrain_gpt
// does.
//
//   int main(int argc, char** argv) {
//     return ringtron::run_program(argc, argv, [](ringtron::Program& program) {
//       ringtron::Training training(program, program.flags_over(my_defaults()));
//       ...
//     });
//   }
//
// One process is one rank, started by ringrun, torchrun --no-python, srun, mpirun or alone.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ringtron/config/config.h"
#include "ringtron/launch/launch_environment.h"

namespace ringtron {

class StopSignals;

class Program {
 public:
  Program(int argc, char** argv, StopSignals& signals);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // The command line behind the program's name.
  const std::vector<std::string>& arguments() const { return arguments_; }
  // Which rank this is, as the launcher says.
  const LaunchEnvironment& environment() const { return environment_; }

  // The flags of the command line over a configuration made by code; the flags are those of pretrain_gpt. --help prints
  // them and ends the program with exit code 0. Throws ConfigError, told once for all ranks, with all faults of flags;
  // rules between values are those of Training. For the command line alone: parse_flags() of strings of one's own is
  // flags_over(defaults, strings).
  Config flags_over(Config defaults) const { return flags_over(std::move(defaults), arguments_); }
  Config flags_over(Config defaults, const std::vector<std::string>& flags) const;

  // The signal that ended training in order, see Training::ready(); 0 if none came.
  int stopped_by() const { return stopped_by_; }

 private:
  friend class Training;
  std::vector<std::string> arguments_;
  LaunchEnvironment environment_;
  StopSignals& signals_;
  int stopped_by_ = 0;
};

// Runs `body` and returns the exit code: 0, or after a signal that ended training in order what pretrain_gpt returns; 2
// for a ConfigError, 1 for any other error, the same on all ranks. An error is printed once, with the program's name
// and where it is of one rank, its rank; what ranks wait for others then ends too. Refuses another LibTorch than the
// library was built with (torch_check.h). One call per process.
int run_program(int argc, char** argv, const std::function<void(Program&)>& body) noexcept;

}  // namespace ringtron
