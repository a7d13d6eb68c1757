// The word caches of one tokenizer: each call of encode() borrows one for its own use, so there are as many of them
// (2 MiB each) as there ever were threads inside encode() at once.
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "ringtron/tokenizer/word_cache.h"

namespace ringtron {

class WordCaches {
 public:
  class Loan {
   public:
    explicit Loan(WordCaches& caches) : caches_(caches), cache_(caches.take()) {}
    ~Loan() { caches_.give_back(std::move(cache_)); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    WordCache& operator*() { return *cache_; }
    WordCache* operator->() { return cache_.get(); }

   private:
    WordCaches& caches_;
    std::unique_ptr<WordCache> cache_;
  };

 private:
  std::unique_ptr<WordCache> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        std::unique_ptr<WordCache> cache = std::move(idle_.back());
        idle_.pop_back();
        return cache;
      }
    }
    return std::make_unique<WordCache>();
  }

  void give_back(std::unique_ptr<WordCache> cache) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(cache));
  }

  std::mutex mutex_;  // guards idle_
  std::vector<std::unique_ptr<WordCache>> idle_;
};

}  // namespace ringtron
