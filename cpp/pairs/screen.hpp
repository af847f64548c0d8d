// The screen of a panel: picks the instruction set and spreads the work over threads.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "pairs/engle_granger.hpp"

namespace mlkit::pairs {

// Called from the calling thread about ten times a second, and in the end, with the pairs done
// and in all; answers whether to go on.
using Watch = std::function<bool(std::size_t done, std::size_t total)>;

struct Release {
  void operator()(double* memory) const;
};
using Memory = std::unique_ptr<double[], Release>;  // aligned to 64 bytes

// Series that are tested in portions: their copy in the kernels' order.
class Table {
 public:
  Table(const double* series, std::size_t count, std::size_t length);

  std::size_t count() const { return panel_.count; }
  std::size_t length() const { return panel_.length; }
  const std::vector<double>& squares() const { return squares_; }

  // Makes the copy that `band` and `distances` need, once and before several threads call them.
  void interleave();

  // These return early when `watch` answers no.
  void band(const Band& band, Lags lags, std::size_t threads, const Statistics& out,
            const Watch& watch) const;
  void list(const List& list, Lags lags, std::size_t threads, const Statistics& out,
            const Watch& watch) const;
  void distances(const Band& band, std::size_t threads, double* out, const Watch& watch) const;

 private:
  std::vector<double> series_, squares_;
  Memory lanes_;
  Panel panel_;
};

}  // namespace mlkit::pairs
