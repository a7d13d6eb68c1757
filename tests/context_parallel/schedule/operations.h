// The operations of a schedule by kind: what tests count, read and damage.
#pragma once

#include <cstddef>
#include <variant>
#include <vector>

#include "ringtron/context_parallel/schedule/schedule.h"

namespace ringtron::testing {

// Where they are in the list.
template <class What>
std::vector<std::size_t> places_of(const Schedule& schedule) {
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < schedule.operations.size(); ++i) {
    if (std::holds_alternative<What>(schedule.operations[i].what)) places.push_back(i);
  }
  return places;
}

template <class What>
std::vector<What> all_of(const Schedule& schedule) {
  std::vector<What> all;
  for (const std::size_t at : places_of<What>(schedule)) all.push_back(std::get<What>(schedule.operations[at].what));
  return all;
}

// The one of this number among its kind.
template <class What>
What& nth(Schedule& schedule, std::size_t number) {
  return std::get<What>(schedule.operations.at(places_of<What>(schedule).at(number)).what);
}

}  // namespace ringtron::testing
