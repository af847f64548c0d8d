// Money: the sizes of a pair's legs, the costs of a fill, and the cash account.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace mlkit::strategy {

// A value for each leg of a pair: shares, or prices.
struct Legs {
  double y = 0.0;
  double x = 0.0;
};

inline double value(Legs shares, Legs prices) { return shares.y * prices.y + shares.x * prices.x; }

// Prices of levels may be zero or negative, as those of futures and spreads: `value` keeps their
// sign, and exposures, sizes and costs go by their size.
inline double gross(Legs shares, Legs prices) {
  return std::abs(shares.y * prices.y) + std::abs(shares.x * prices.x);
}

inline double short_value(Legs shares, Legs prices) {
  return (shares.y < 0.0 ? std::abs(shares.y * prices.y) : 0.0) +
         (shares.x < 0.0 ? std::abs(shares.x * prices.x) : 0.0);
}

// Costs of each leg of a fill; basis points of the money that is traded.
struct Costs {
  double per_share = 0.0;
  double per_trade = 0.0;
  double commission_bps = 0.0;
  double slippage_bps = 0.0;
  double half_spread_bps = 0.0;
  double borrow_rate = 0.0;  // per year, on the size of short legs
};

struct Sizing {
  double capital = 100'000.0;
  double gross = 10'000.0;  // money in both legs of a pair
  bool log = true;          // beta weights money; otherwise shares
  bool whole_shares = false;
};

// Shares of both legs for a position on a side of the spread; none if a leg rounds to nothing.
inline Legs size(int side, double beta, Legs prices, const Sizing& sizing) {
  Legs shares;
  if (sizing.log) {
    const double money = side * sizing.gross / (1.0 + std::abs(beta));
    shares = {money / prices.y, -beta * money / prices.x};
  } else {
    const double units = side * sizing.gross / (std::abs(prices.y) + std::abs(beta * prices.x));
    shares = {units, -beta * units};
  }
  if (sizing.whole_shares) shares = {std::trunc(shares.y), std::trunc(shares.x)};
  const bool usable =
      std::isfinite(shares.y) && std::isfinite(shares.x) && shares.y != 0.0 && shares.x != 0.0;
  return usable ? shares : Legs{};
}

// Running totals of what was paid and received apart from the trades' gross result.
struct Ledger {
  double commission = 0.0;
  double slippage = 0.0;
  double half_spread = 0.0;
  double borrow = 0.0;
  double dividends = 0.0;

  double costs() const { return commission + slippage + half_spread + borrow - dividends; }
  void add(const Ledger& other) {
    commission += other.commission;
    slippage += other.slippage;
    half_spread += other.half_spread;
    borrow += other.borrow;
    dividends += other.dividends;
  }
};

// The costs of trading `shares` at `prices`.
inline Ledger trade(Legs shares, Legs prices, const Costs& costs) {
  const double money = gross(shares, prices);
  const double count = std::abs(shares.y) + std::abs(shares.x);
  Ledger paid;
  paid.commission =
      costs.per_share * count + 2.0 * costs.per_trade + 1e-4 * costs.commission_bps * money;
  paid.slippage = 1e-4 * costs.slippage_bps * money;
  paid.half_spread = 1e-4 * costs.half_spread_bps * money;
  return paid;
}

}  // namespace mlkit::strategy
