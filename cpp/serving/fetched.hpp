// What the fetch stage hands to the predict stage.
#pragma once

#include <memory>

#include "serving/python_values.hpp"

namespace mlkit::serving {

// The posteriors of the candidates of one request. Names of all arms are made when asked for.
class Fetched {
 public:
  Fetched(py::tuple candidates, std::vector<double> a, std::vector<double> b, Unknown unknown)
      : candidates_(std::move(candidates)), a_(std::move(a)), b_(std::move(b)), unknown_(unknown) {}
  Fetched(std::shared_ptr<const PosteriorTable> table, AllArms all)
      : table_(std::move(table)),
        arms_(std::move(all.arms)),
        a_(std::move(all.a)),
        b_(std::move(all.b)),
        unknown_(all.unknown) {}

  std::size_t size() const { return a_.size(); }
  std::span<const double> a() const { return a_; }
  std::span<const double> b() const { return b_; }
  Unknown unknown() const { return unknown_; }

  py::str candidate(std::size_t i) const {
    if (table_) return text_of(table_->arm_id(arms_[i]));
    return py::reinterpret_borrow<py::str>(
        PyTuple_GET_ITEM(candidates_.ptr(), static_cast<Py_ssize_t>(i)));
  }

  py::tuple candidates() const {
    if (!table_) return candidates_;
    py::tuple names(size());
    for (std::size_t i = 0; i < size(); ++i) names[i] = candidate(i);
    return names;
  }

 private:
  py::tuple candidates_;
  std::shared_ptr<const PosteriorTable> table_;
  std::vector<std::uint32_t> arms_;
  std::vector<double> a_, b_;
  Unknown unknown_;
};

}  // namespace mlkit::serving
