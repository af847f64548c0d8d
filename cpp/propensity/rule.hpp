// The rule of Gauss and Legendre, and the integrals between its nodes.
#pragma once

#include "propensity/kernel.hpp"

namespace mlkit::propensity {

const Rule& rule();

}  // namespace mlkit::propensity
