// The trading rule of one pair: a pure function of a state and a bar's features.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace mlkit::strategy {

// What is known of a pair at a bar's close.
struct Features {
  double beta = std::numeric_limits<double>::quiet_NaN();
  double spread = std::numeric_limits<double>::quiet_NaN();
  // NaN while a window fills, or when the spread does not vary.
  double z = std::numeric_limits<double>::quiet_NaN();
};

// Thresholds in deviations of the spread.
struct Rule {
  double entry = 2.0;
  double exit = 0.5;
  double stop = std::numeric_limits<double>::infinity();
  std::int64_t max_bars = 0;  // 0: no time stop
};

struct State {
  int side = 0;           // 1: long the spread, -1: short the spread, 0: flat
  int locked = 0;         // the side of the last position until its spread has reverted
  std::int64_t held = 0;  // bars since the decision to enter
};

enum class Order : int { none, enter_long, enter_short, exit, stop, time_stop };

struct Decision {
  State state;
  Order order;
};

// Enter against a spread of at least `entry` deviations; leave when it has reverted to within
// `exit`, when it has run to `stop`, or after `max_bars`. After any exit, and after an entry that
// was refused, the spread has to revert before the next entry (the lock).
inline Decision step(State state, double z, const Rule& rule) {
  const auto reverted = [&](int side) { return side * z >= -rule.exit; };
  if (state.side == 0) {
    if (state.locked != 0 && reverted(state.locked)) state.locked = 0;
    const double distance = std::abs(z);
    if (state.locked != 0 || !(distance >= rule.entry) || distance >= rule.stop) {
      return {state, Order::none};
    }
    const int side = z > 0.0 ? -1 : 1;
    return {{side, side, 0}, side > 0 ? Order::enter_long : Order::enter_short};
  }
  ++state.held;
  if (reverted(state.side)) return {{0, 0, 0}, Order::exit};
  if (state.side * z <= -rule.stop) return {{0, state.side, 0}, Order::stop};
  if (rule.max_bars > 0 && state.held >= rule.max_bars) {
    return {{0, state.side, 0}, Order::time_stop};
  }
  return {state, Order::none};
}

}  // namespace mlkit::strategy
