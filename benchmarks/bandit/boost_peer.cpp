// The article's sampler: Boost's beta_distribution and a fresh Mersenne Twister for each draw.
#include <boost/random/beta_distribution.hpp>
#include <boost/random/mersenne_twister.hpp>
#include <cstddef>

extern "C" void draw_with_fresh_generators(const double* a, const double* b, double* out,
                                           std::size_t count, unsigned seed) {
  for (std::size_t i = 0; i < count; ++i) {
    boost::random::mt19937 generator(seed + static_cast<unsigned>(i));
    out[i] = boost::random::beta_distribution<>(a[i], b[i])(generator);
  }
}

extern "C" void draw_with_one_generator(const double* a, const double* b, double* out,
                                        std::size_t count, unsigned seed) {
  boost::random::mt19937 generator(seed);
  for (std::size_t i = 0; i < count; ++i)
    out[i] = boost::random::beta_distribution<>(a[i], b[i])(generator);
}
