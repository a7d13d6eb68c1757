// Internal to comm: the keys and values of a run, and the ranks that wait for some. No sockets, no threads.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace ringtron {

struct StoreRequest {
  enum class Op : std::uint8_t {
    set,          // keys[0] = values[0]
    get,          // answers when all keys are there, with the first one's value
    add,          // keys[0] += number, as decimal text; answers with the sum
    compare_set,  // keys[0] = values[1] if it is values[0], or if it is absent and values[0] is empty; answers with
                  // what is there
    erase,        // answers 1 if the key was there
    check,        // answers 1 if all keys are there
    count,        // answers with the number of keys
    cancel,       // the get of the same id is of no interest any more; no answer
  };
  std::uint32_t id = 0;  // chosen by the rank; the answer carries it
  Op op = Op::set;
  std::int64_t number = 0;
  std::vector<std::string> keys = {};
  std::vector<std::string> values = {};

  std::string bytes() const;
  static StoreRequest from(const std::string& bytes);  // throws wire::Malformed
};

struct StoreReply {
  std::uint32_t id = 0;
  std::int64_t number = 0;
  std::string value = {};

  std::string bytes() const;
  static StoreReply from(const std::string& bytes);  // throws wire::Malformed
};

class KeyTable {
 public:
  // The answers that are now due, each with the rank that gets it: often more than one, or none.
  std::vector<std::pair<int, StoreReply>> handle(int rank, const StoreRequest& request);
  // That rank waits for nothing any more.
  void forget(int rank);

 private:
  struct Waiting {
    int rank;
    StoreRequest request;
  };
  bool has_all(const std::vector<std::string>& keys) const;

  std::map<std::string, std::string> values_;
  std::vector<Waiting> waiting_;
};

}  // namespace ringtron
