"""Time one pair's backtest and a sweep, with vectorbt and backtrader in the same run.

    python benchmarks/pairs/backtest.py [--json FILE] [--long]

All take the same closes and trade the same z-score of a fixed hedge ratio, with 5 basis points of
costs, and give the Sharpe ratio and the maximum drawdown. Each figure is the best of several runs,
since other work on the machine only ever adds time; the median and the worst stand beside it.

One pair: 40 bars, entry 2, exit 0.5. The peers receive ready z-scores, vectorbt ready orders too;
our figures include both. Sweep: 1,000 combinations of 10 entries, 10 exits and 10 lookbacks; all
include the z-scores; vectorbt's positions and orders come from a compiled loop (numba). Its first
sweep in a process compiles vectorbt's own loops, and is timed as well: a script that sweeps once
waits for that.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from mlkit.pairs import _pair_strategy as native

LOOKBACK, ENTRY, EXIT = 40, 2.0, 0.5


def market(bars):
    rng = np.random.default_rng(1)
    trend = 100 * np.exp(np.cumsum(rng.normal(0, 0.01 / max(1, bars / 5e4) ** 0.5, bars)))
    gap, shocks = np.zeros(bars), rng.normal(0, 0.01, bars)
    for t in range(1, bars):
        gap[t] = 0.95 * gap[t - 1] + shocks[t]
    return np.column_stack([trend * np.exp(gap), trend])


def timed(work, runs):
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return {"best": min(times), "median": statistics.median(times), "worst": max(times)}


SETTINGS = native.Settings(
    rule=native.Rule(entry=ENTRY, exit=EXIT), costs=native.Costs(commission_bps=5.0)
)


def kernel(legs):
    """The arithmetic alone: features, rule, costs, Sharpe ratio and drawdown."""
    scores, _ = native.sweep(
        closes=legs, trade=LOOKBACK, grid=np.array([[ENTRY, EXIT, np.inf, 0.0]]),
        settings=SETTINGS, signals=[native.Signal(beta=1.0, lookback=LOOKBACK)],
    )  # fmt: skip
    return scores[0]["sharpe"], scores[0]["drawdown"]


def engine(closes):
    """The event engine with its books: trades, decisions, and the account at each bar."""
    account = native.Engine(2, SETTINGS)
    signal = native.Signal(beta=1.0, lookback=LOOKBACK)
    joins = native.Planned(y=0, x=1, start=LOOKBACK, warm_up_bars=LOOKBACK, signal=signal)
    account.take(closes, plan=[joins])
    account.finish()
    equity = account.rows()["equity"]
    returns = np.diff(equity) / equity[:-1]
    return returns.mean() / returns.std(), (1 - equity / np.maximum.accumulate(equity)).max()


GRID = [
    (entry, leave, lookback)
    for entry in np.linspace(1, 3, 10)
    for leave in np.linspace(0, 0.9, 10)
    for lookback in range(20, 120, 10)
]


LOOKBACKS = sorted({lookback for _, _, lookback in GRID})
ROWS = np.array([(entry, leave, np.inf, LOOKBACKS.index(n)) for entry, leave, n in GRID])


def our_sweep(legs, threads):
    return native.sweep(
        closes=legs, trade=120, grid=ROWS, settings=SETTINGS, threads=threads,
        signals=[native.Signal(beta=1.0, lookback=n) for n in LOOKBACKS],
    )  # fmt: skip


def z_scores(closes, lookback):
    import pandas as pd

    spread = pd.Series(np.log(closes[:, 0]) - np.log(closes[:, 1]))
    return ((spread - spread.rolling(lookback).mean()) / spread.rolling(lookback).std()).to_numpy()


def held(z, entry, exit_):
    """The side after each bar, by the same rule."""
    side, out = 0, np.zeros(len(z))
    for t in range(len(z)):
        if side == 0 and abs(z[t]) >= entry:
            side = -1 if z[t] > 0 else 1
        elif side != 0 and side * z[t] >= -exit_:
            side = 0
        out[t] = side
    return out


def fill_orders(closes, sides, orders):
    """Order sizes in shares of both legs, to be filled at the next close."""
    y = x = before = 0.0
    for t in range(len(sides) - 1):
        if sides[t] != before:
            if sides[t] != 0.0:
                y, x = sides[t] * 5000.0 / closes[t, 0], -sides[t] * 5000.0 / closes[t, 1]
                orders[t + 1, 0], orders[t + 1, 1] = y, x
            else:
                orders[t + 1, 0], orders[t + 1, 1] = -y, -x
            before = sides[t]


def make_orders(closes, z, grid, rows):
    """Orders of all combinations, two columns each."""
    orders = np.full((len(closes), 2 * len(grid)), np.nan)
    for i in range(len(grid)):
        sides = held(z[rows[i]], grid[i, 0], grid[i, 1])
        fill_orders(closes, sides, orders[:, 2 * i : 2 * i + 2])
    return orders


def compile_peers():
    """Compile the peers' loops, as vectorbt's users do."""
    import numba

    for name in ("held", "fill_orders", "make_orders"):
        globals()[name] = numba.njit(globals()[name])


def one_pair_orders(closes):
    z = z_scores(closes, LOOKBACK)[None]
    return make_orders(closes, z, np.array([[ENTRY, EXIT]]), np.zeros(1, dtype=np.int64))


def vectorbt_portfolio(closes, orders, groups):
    import vectorbt as vbt

    return vbt.Portfolio.from_orders(
        closes, size=orders, fees=0.0005, init_cash=100_000.0, group_by=groups,
        cash_sharing=True, freq="1D",
    )  # fmt: skip


def vectorbt_one(closes, orders):
    portfolio = vectorbt_portfolio(closes, orders, True)
    return portfolio.sharpe_ratio(), portfolio.max_drawdown()


def vectorbt_sweep(closes):
    z = np.array([z_scores(closes, lookback) for lookback in LOOKBACKS])
    orders = make_orders(closes, z, ROWS, ROWS[:, 3].astype(np.int64))
    count = len(GRID)
    portfolio = vectorbt_portfolio(np.tile(closes, count), orders, np.repeat(np.arange(count), 2))
    return portfolio.sharpe_ratio(), portfolio.max_drawdown()


def backtrader_one(closes, z):
    import backtrader as bt
    import pandas as pd

    class PairTrade(bt.Strategy):
        def __init__(self):
            self.side = 0

        def next(self):
            now = z[len(self) - 1]
            if self.side == 0 and abs(now) >= ENTRY:
                self.side = -1 if now > 0 else 1
                for data, sign in zip(self.datas, (1, -1), strict=True):
                    self.order_target_size(data, sign * self.side * 5000.0 / data.close[0])
            elif self.side != 0 and self.side * now >= -EXIT:
                self.side = 0
                for data in self.datas:
                    self.close(data)

    cerebro = bt.Cerebro()
    cerebro.broker.setcash(100_000.0)
    cerebro.broker.setcommission(0.0005)
    dates = pd.date_range("2000-01-01", periods=len(closes))
    for column in range(2):
        close = closes[:, column]
        frame = pd.DataFrame(
            {"open": close, "high": close, "low": close, "close": close, "volume": 0.0}, dates
        )
        cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(PairTrade)
    cerebro.addanalyzer(bt.analyzers.SharpeRatio)
    cerebro.addanalyzer(bt.analyzers.DrawDown)
    cerebro.run()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--long", action="store_true", help="also 1e6 bars")
    options = parser.parse_args()
    compile_peers()
    short = market(1260)
    legs = np.ascontiguousarray(short.T)  # the kernel takes a row a leg, the engine a row a bar
    z = z_scores(short, LOOKBACK)
    orders = one_pair_orders(short)
    first = timed(lambda: vectorbt_sweep(short), 1)
    vectorbt_one(short, orders)  # compiles
    rows = [
        ("vectorbt, 1,000 combinations, first call", first),
        ("mlkit kernel, T = 1260", timed(lambda: kernel(legs), 500)),
        ("mlkit engine, T = 1260", timed(lambda: engine(short), 300)),
        ("vectorbt, T = 1260", timed(lambda: vectorbt_one(short, orders), 20)),
        ("backtrader, T = 1260", timed(lambda: backtrader_one(short, z), 3)),
        ("mlkit, 1,000 combinations", timed(lambda: our_sweep(legs, 1), 40)),
        ("mlkit, 1,000 combinations, 2 threads", timed(lambda: our_sweep(legs, 2), 40)),
        ("vectorbt, 1,000 combinations", timed(lambda: vectorbt_sweep(short), 3)),
    ]
    if options.long:
        long = market(1_000_000)
        long_orders, long_legs = one_pair_orders(long), np.ascontiguousarray(long.T)
        rows += [
            ("mlkit kernel, 1e6 bars", timed(lambda: kernel(long_legs), 8)),
            ("mlkit engine, 1e6 bars", timed(lambda: engine(long), 5)),
            ("vectorbt, 1e6 bars", timed(lambda: vectorbt_one(long, long_orders), 3)),
        ]
    report(dict(rows), options.json)


PEERS = (
    ("mlkit kernel, T = 1260", "vectorbt, T = 1260"),
    ("mlkit engine, T = 1260", "vectorbt, T = 1260"),
    ("mlkit kernel, T = 1260", "backtrader, T = 1260"),
    ("mlkit engine, T = 1260", "backtrader, T = 1260"),
    ("mlkit, 1,000 combinations", "vectorbt, 1,000 combinations"),
    ("mlkit, 1,000 combinations", "vectorbt, 1,000 combinations, first call"),
    ("mlkit, 1,000 combinations, 2 threads", "mlkit, 1,000 combinations"),
    ("mlkit kernel, 1e6 bars", "vectorbt, 1e6 bars"),
    ("mlkit engine, 1e6 bars", "vectorbt, 1e6 bars"),
)


def report(rows, path):
    for name, each in rows.items():
        print(f"{name:40} best {1e3 * each['best']:12.4f} ms  median {1e3 * each['median']:12.4f}"
              f"  worst {1e3 * each['worst']:12.4f}")  # fmt: skip
    ratios = {
        f"{mine} / {peer}": rows[peer]["best"] / rows[mine]["best"]
        for mine, peer in PEERS
        if mine in rows and peer in rows
    }
    for name, ratio in ratios.items():
        print(f"{name:80} {ratio:10,.1f} x")
    if path:
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            json.dump({"seconds": rows, "ratios": ratios}, file, indent=2)


if __name__ == "__main__":
    main()
