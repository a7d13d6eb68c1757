// Which run saved a checkpoint, what it had gone on from, and in which order the checkpoints of a folder were saved.
//
// A run is one start of the program. Its checkpoints follow each other; before them come those of the run whose
// checkpoint it loaded, up to the iteration it loaded, and so on. What is not on that line is of another branch or of
// another run. Order is a number, one more than the largest in the folder: clocks of several machines do not count.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace ringtron {

struct Ancestor {
  std::string run;             // empty: saved by a version that kept no lineage
  std::int64_t iteration = 0;  // the last of that run's checkpoints which belongs to this line
  bool operator==(const Ancestor&) const = default;
};

struct Lineage {
  std::string run;                  // 16 hex digits; empty: saved by a version that kept no lineage
  std::int64_t save = 0;            // place in the order of saving, from 1; 0: from before all that have one
  std::vector<Ancestor> ancestors;  // oldest first; the last is the checkpoint that the run loaded

  // Whether `ancestors` has every checkpoint that was loaded on the way: none is of a version that kept no lineage, and
  // none was left out of very many.
  bool has_all_ancestors() const;

  // Whether the checkpoint of `other_run` at `other_iteration` is this one (at `iteration`) or lies before it on its
  // line.
  bool includes(std::int64_t iteration, const std::string& other_run, std::int64_t other_iteration) const;
};

// A name that no other run has.
std::string new_run_name();

// What a run has behind it that loads the checkpoint of `loaded` at `iteration`: its ancestors and that checkpoint. Of
// very many restarts only the latest are kept.
std::vector<Ancestor> line_through(const Lineage& loaded, std::int64_t iteration);

nlohmann::json lineage_to_json(const Lineage& lineage);
// Of a checkpoint's metadata; a Lineage without a run if it holds none. Throws IoError that names what is wrong with
// it.
Lineage lineage_of_metadata(const nlohmann::json& metadata);

}  // namespace ringtron
