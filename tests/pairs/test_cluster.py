"""`--cluster`: screens, sweeps and backtests on a cluster of Dask have the bits of one machine."""

from __future__ import annotations

import builtins
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from commands import run_mlkit
from processes import started

from mlkit.errors import ConfigurationError, MlkitError, ServiceUnavailable, UsageError
from mlkit.pairs import cluster, windows
from mlkit.pairs._pair_strategy import Signal
from mlkit.pairs.backtest.sweep import Grid, sweep
from mlkit.pairs.cluster import connect, in_order
from mlkit.pairs.prices.prices import Prices
from mlkit.pairs.screen import universe
from mlkit.pairs.screen.criteria import Criteria, Filters
from mlkit.pairs.screen.screening import screen
from mlkit.pairs.settings import Selection, Settings

START = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    options = dict(n_workers=int(sys.argv[1]), threads_per_worker=1, dashboard_address=None)
    with LocalCluster(processes=True, **options) as started:
        print(started.scheduler_address, flush=True)
        sys.stdin.read()
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """A cluster of two processes, which end with their standard input."""
    pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "start.py").write_text(START)
    with (
        (folder / "log").open("w") as log,
        started(
            [sys.executable, str(folder / "start.py"), "2"], cwd=folder,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
        ) as process,
    ):  # fmt: skip
        address = process.stdout.readline().strip()
        assert address.startswith("tcp://"), (folder / "log").read_text()
        yield address.replace("tcp://", "dask://")
        process.stdin.close()
        process.stdout.read()
        process.wait(180)


def market(tickers=24, bars=500, seed=1):
    draws = np.random.default_rng(seed)
    walks = np.cumsum(draws.normal(0.0, 0.01, (bars, tickers)), axis=0)
    spreads = np.zeros((bars, tickers // 2))
    for bar in range(1, bars):
        spreads[bar] = 0.8 * spreads[bar - 1] + draws.normal(0.0, 0.01, tickers // 2)
    walks[:, 1::2] = walks[:, ::2] + spreads
    names = tuple(f"T{n:02d}" for n in range(tickers))
    return Prices(names, np.datetime64("2020-01-01", "ns") + np.arange(bars).astype("m8[D]"), None,
                  100.0 * np.exp(walks))  # fmt: skip


def ranks(found):
    return [repr(each) for each in found.pairs], found.tested, found.best_adjusted_p


@pytest.mark.slow
@pytest.mark.parametrize(
    "criteria",
    [
        Criteria(alpha=0.2),
        Criteria(alpha=0.2, scale="levels", prior="none", filters=Filters(min_correlation=0.1)),
    ],
    ids=["default", "filtered"],
)
def test_a_screen_on_a_cluster_has_the_bits_of_one_machine(url, criteria, monkeypatch, tmp_path):
    monkeypatch.setattr(universe, "PORTION", 40)
    prices, seen = market(), []
    expected = screen(prices, criteria, threads=2)
    assert expected.pairs
    with connect(url) as machines:
        assert machines.workers == 2
        found = screen(prices, criteria, cluster=machines, checkpoint=tmp_path / "kept",
                       progress=lambda done, of: seen.append((done, of)))  # fmt: skip
        assert ranks(found) == ranks(expected)
    assert seen[-1][0] == seen[-1][1] >= 5
    # What the cluster has done is a checkpoint for one machine.
    assert ranks(screen(prices, criteria, checkpoint=tmp_path / "kept")) == ranks(expected)


def plain(window):
    """A window as text that has all of its bits."""
    pairs = [vars(each) | {"signal": each.signal.__getstate__()} for each in window.pairs]
    return repr(replace(window, pairs=())), repr(pairs)


@pytest.mark.slow
def test_windows_and_a_sweep_have_the_bits_of_one_machine_and_prices_travel_once(url, monkeypatch):
    from distributed import Client

    sent, scatter = [], Client.scatter

    def spied(client, values, **options):
        sent.extend(values)
        return scatter(client, values, **options)

    monkeypatch.setattr(Client, "scatter", spied)
    prices = market()
    settings = Settings(formation=200, trading=60, selection=Selection(top=5, alpha=0.2))
    grid = Grid(entry=(1.5, 2.0, 2.5), exit=(0.0, 0.5), stop=(4.0,), lookback=(20, 60))
    here = windows.plan(prices, [], settings)
    expected = sweep(prices, here, settings, grid, threads=2, walk_forward=True)
    with connect(url) as machines:
        there = windows.plan(prices, [], settings, cluster=machines)
        found = sweep(prices, there, settings, grid, walk_forward=True, cluster=machines)
    assert list(map(plain, there)) == list(map(plain, here))
    assert any(each.pairs for each in here)
    assert found.scores.tobytes() == expected.scores.tobytes()
    assert repr(found.deflated) == repr(expected.deflated)
    assert found.walk.chosen == expected.walk.chosen
    assert sum(isinstance(each, Prices) for each in sent) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("screen", "--alpha", "0.2"),
        ("sweep", "--formation", "150", "--trading", "75", "--entry", "1.5,2", "--alpha", "0.2"),
        ("backtest", "--formation", "150", "--trading", "75", "--alpha", "0.2"),
    ],
    ids=["screen", "sweep", "backtest"],
)
def test_commands_print_the_same_with_a_cluster(url, arguments, tmp_path):
    prices = market(tickers=8, bars=300)
    rows = [f"{time},{','.join(map(str, row))}" for time, row in
            zip(prices.timestamps.astype("M8[D]"), prices.close.tolist(), strict=True)]  # fmt: skip
    file = tmp_path / "prices.csv"
    file.write_text("\n".join([f"date,{','.join(prices.tickers)}", *rows]))
    name, *options = arguments
    command = ["pairs", name, file, *options, "--json"]
    outputs = [run_mlkit(*command, *more, timeout=300) for more in ([], ["--cluster", url])]
    assert [each.returncode for each in outputs] == [0, 0], outputs[-1].stderr
    assert outputs[1].stdout == outputs[0].stdout
    assert url in outputs[1].stderr


@pytest.mark.slow
def test_what_work_raises_is_raised_here(url):
    prices = market()
    with pytest.raises(MlkitError) as expected:
        prices.select(["NOPE"])
    with connect(url) as machines:
        assert in_order(machines.work(np.add, (1,), [2, 3, 4])) == [3, 4, 5]
        assert in_order(machines.work(np.add, (1,), [])) == []
        with pytest.raises(type(expected.value)) as raised:
            in_order(machines.work(Prices.select, (prices,), [["T01"], ["NOPE"]]))
        assert vars(raised.value) == vars(expected.value)


@pytest.mark.slow
def test_workers_with_other_arithmetic_are_refused(url, monkeypatch):
    monkeypatch.setattr(cluster, "__version__", "0.0.1")
    with pytest.raises(ConfigurationError, match=r"mlkit .*, not 0\.0\.1"), connect(url):
        pass


@pytest.mark.parametrize(
    "text",
    ["dask://", "dask://host", "tcp://host:8786", "dask://host:port", "dask://host:8786/path",
     "dask://[::1", "host:8786", ""],
)  # fmt: skip
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UsageError), connect(text):
        pass


def test_a_scheduler_that_is_not_there_is_reported(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "TIMEOUT", 0.5)
    with socket.socket() as held:  # bound, and nobody listens
        held.bind(("127.0.0.1", 0))
        address = f"dask://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(ServiceUnavailable, match="no scheduler answers"), connect(address):
            pass


def test_without_dask_the_extra_is_named(monkeypatch):
    found = builtins.__import__

    def without(name, *arguments, **options):
        if name == "distributed":
            raise ImportError(name)
        return found(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ServiceUnavailable) as raised, connect("dask://127.0.0.1:8786"):
        pass
    assert "mlkit[dask]" in raised.value.hint


def test_methods_that_a_cluster_cannot_help_are_refused():
    class Machines:
        workers = 1

    with pytest.raises(UsageError, match="cointegration"):
        screen(market(), Criteria(method="distance"), cluster=Machines())


@pytest.mark.parametrize("hedge", ["fixed", "rolling", "kalman"])
def test_a_signal_that_has_travelled_is_the_same(hedge):
    import copy

    signal = Signal(hedge=hedge, log=True, alpha=0.1, beta=-1.3, hedge_window=30, lookback=20,
                    mean=0.2, deviation=3.0)  # fmt: skip
    assert repr(copy.copy(signal).__getstate__()) == repr(signal.__getstate__())
