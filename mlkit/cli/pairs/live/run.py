"""`mlkit pairs live run`: a run is started, or goes on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import MOST, Json
from mlkit.cli.output import Output, format_count, of
from mlkit.cli.pairs.influx import database, exporting
from mlkit.cli.pairs.live.alerts import Ways, alerts_of
from mlkit.cli.pairs.settings import build, with_settings
from mlkit.cli.pairs.source import (
    PairOption,
    PairsOption,
    RefitOption,
    Source,
    load,
    read_pairs,
    with_source,
)
from mlkit.pairs.defaults import HALTED_AFTER, TIMEZONE
from mlkit.web.defaults import HOST

if TYPE_CHECKING:
    from mlkit.pairs.feeds.feed import Feed
    from mlkit.pairs.live.folder import RunFolder
    from mlkit.pairs.live.plan import RunPlan
    from mlkit.pairs.live.run import Progress, Run
    from mlkit.pairs.prices.prices import Prices
    from mlkit.pairs.settings import Settings
    from mlkit.pairs.strategy.strategy import Reference, Strategy
    from mlkit.pairs.windows import GivenPair

Fill = Literal["open", "quote"]
FEED, TRADING, RISK, RUN = "Feed", "Choice of pairs", "Limits", "Run"


def _option(*flags: str, panel: str, text: str, **more: Any) -> Any:
    return typer.Option(*flags, help=text, rich_help_panel=panel, **more)


@examples(
    "mlkit pairs live run prices.csv --pair KO,PEP --speed 10 --state run",
    "mlkit pairs live run prices.csv --from results/run.json --speed max --json",
    "ticker-source | mlkit pairs live - --pairs pairs.csv --bars-per-year 98280",
    "mlkit pairs live kafka://broker:9092/bars --from results/run.json --state run",
)
@partial(with_source, without=frozenset())
@with_settings
def run(
    context: typer.Context,
    settings: Mapping[str, Any],
    reading: Mapping[str, Any],
    feed: Annotated[
        str,
        typer.Argument(
            metavar="FEED",
            help=(
                "Feed: a price file; - (JSON Lines or CSV on standard input); "
                "kafka://HOST:PORT/TOPIC; log://FOLDER/TOPIC; MODULE:FUNCTION."
            ),
        ),
    ],
    state: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the run; an existing run is continued.")
    ] = Path("live"),
    speed: Annotated[
        str,
        _option(
            panel=FEED,
            text="Replay speed, in bars per second; max: as fast as possible.",
            metavar="BARS",
        ),
    ] = "max",
    pair: PairOption = None,
    pairs: PairsOption = None,
    refit: RefitOption = False,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.PY:CLASS",
            help=(
                "Strategy to run, a class derived from mlkit.pairs.Strategy; its code is executed."
            ),
        ),
    ] = None,
    repeat: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN.JSON",
            help="Take the pairs, settings and strategy of this backtest.",
        ),
    ] = None,
    tickers: Annotated[
        str | None,
        _option(
            panel=FEED,
            metavar="A,B,...",
            text="Tickers to follow (default: those of the pairs or the file).",
        ),
    ] = None,
    bar: Annotated[
        float,
        _option(
            panel=FEED,
            min=0.0,
            max=86400.0 * 366,
            metavar="SECONDS",
            text=("Length of the bars made of ticks, in seconds; 0: records are bars."),
        ),
    ] = 0.0,
    lateness: Annotated[
        float | None,
        _option(
            panel=FEED,
            min=0.0,
            max=86400.0 * 366,
            metavar="SECONDS",
            text="Seconds to wait for late records (default: 5; 0 in replays).",
        ),
    ] = None,
    halted_after: Annotated[
        int,
        _option(
            panel=FEED,
            min=1,
            max=MOST,
            text=("Number of missing bars after which a ticker is no longer waited for."),
        ),
    ] = HALTED_AFTER,
    delisted_after: Annotated[
        int,
        _option(
            panel=FEED,
            min=0,
            max=MOST,
            text=("Number of missing bars after which a ticker counts as delisted; 0: never."),
        ),
    ] = 0,
    fill: Annotated[
        Fill, _option(panel=FEED, text="Price of fills: the next open, or bid and ask where known.")
    ] = "open",
    universe: Annotated[
        int | None,
        _option(
            panel=TRADING,
            min=2,
            max=MOST,
            metavar="N",
            text="Number of tickers to watch: the first of the file, or those that come first.",
        ),
    ] = None,
    evidence: Annotated[
        str | None,
        _option(
            panel=TRADING,
            metavar="RULE",
            text=("Trade pairs that pass the screen and this rule, such as 'correlation > 0.8'."),
        ),
    ] = None,
    rescreen: Annotated[
        int, _option(panel=TRADING, min=1, max=MOST, text="Number of bars between two screens.")
    ] = 20,
    limit: Annotated[
        list[str] | None,
        _option(
            panel=RISK,
            metavar="NAME=VALUE[:ACTION]",
            text=(
                "Risk limit (gross, net, daily_loss, drawdown, orders_per_minute, stale"
                " or collar) and what happens beyond it (refuse, block, flatten or "
                "stop); repeatable."
            ),
        ),
    ] = None,
    no_borrow: Annotated[
        str | None,
        _option(panel=RISK, metavar="A,B,...", text="Tickers that cannot be sold short."),
    ] = None,
    timezone: Annotated[
        str, _option(panel=RISK, text="Time zone in which trading days begin.")
    ] = TIMEZONE,
    topics: Annotated[
        str | None,
        _option(
            panel=RUN,
            metavar="URL",
            text=("Store the topics at kafka://HOST:PORT (default: in the run's folder)."),
        ),
    ] = None,
    keep: Annotated[
        float | None,
        _option(
            panel=RUN,
            min=0.01,
            metavar="DAYS",
            text="Days for which records are kept (default: forever).",
        ),
    ] = None,
    page: Annotated[
        bool, _option("--page/--no-page", panel=RUN, text="Serve a page that shows the run.")
    ] = True,
    statements: Annotated[
        bool,
        _option(
            "--statements/--no-statements",
            panel=RUN,
            text="Write a statement at the end of each session, in the run's folder.",
        ),
    ] = True,
    host: Annotated[str, _option(panel=RUN, text="Loopback address of the page.")] = HOST,
    port: Annotated[
        int, _option(panel=RUN, min=0, max=65535, text="Port of the page; 0: any free port.")
    ] = 0,
    alert_url: Annotated[
        str | None, _option(panel=RUN, metavar="URL", text="URL to post alerts to, as JSON.")
    ] = None,
    alert_command: Annotated[
        str | None,
        _option(
            panel=RUN,
            metavar="COMMAND",
            text=("Command to run for each alert, which it reads from standard input."),
        ),
    ] = None,
    alert_mail: Annotated[
        str | None,
        _option(panel=RUN, metavar="ADDRESS", text="E-mail address to send alerts to, by --smtp."),
    ] = None,
    smtp: Annotated[
        str | None,
        _option(
            panel=RUN,
            metavar="URL",
            text="Mail server: smtp://, smtp+starttls:// or smtps://[USER@]HOST[:PORT].",
        ),
    ] = None,
    smtp_password_file: Annotated[
        Path | None,
        _option(
            panel=RUN,
            metavar="FILE",
            text="File with the password of the mail server "
            "(default: the variable MLKIT_BPMN_SMTP_PASSWORD).",
        ),
    ] = None,
    influx: Annotated[
        str | None,
        _option(panel=RUN, metavar="URL", text="Write measurements to http://HOST:PORT/DATABASE."),
    ] = None,
    json: Json = False,
) -> None:
    """Trade on paper, bar by bar: the backtest's engine, every step in a durable log.

    The same command continues a run that ended or was killed, with results identical to those of an
    uninterrupted run. A replay ends with its file; any other feed can be continued later.
    """
    from mlkit.interruption import stoppable
    from mlkit.pairs.feeds.feed import open_feed
    from mlkit.pairs.live import setup
    from mlkit.pairs.live import topics as topics_of_run
    from mlkit.pairs.live.folder import RunFolder
    from mlkit.pairs.live.limits import parse_limits
    from mlkit.pairs.live.plan import RunPlan
    from mlkit.pairs.live.run import Run

    out = of(context)
    prices = _prices(out, feed, reading)
    opened = None if prices is not None else open_feed(feed)
    write = database(influx)
    ways = Ways(alert_url, alert_command, alert_mail, smtp, smtp_password_file)
    alerts = alerts_of(out, state, ways)
    named, built, reference, year = _strategy_of(repeat, settings, pair, pairs, refit, strategy)
    known = _split(tickers) or (prices.tickers if prices is not None else ())
    if opened is not None and universe is not None and not (known or named):
        known, opened = _first_tickers(out, RunFolder(state), opened, universe)
    chosen = setup.tickers_of(known, named, universe)
    quiet = 0.0 if prices is not None else 5.0
    plan = setup.check(
        RunPlan(
            feed=feed, tickers=chosen, pairs=tuple(named), settings=built,
            bars_per_year=built.bars_per_year or year or _infer(prices, built),
            delisted_after=delisted_after, quotes=fill == "quote", length=round(bar * 1e9),
            lateness=round((quiet if lateness is None else lateness) * 1e9),
            halted_after=halted_after, timezone=_zone(timezone), strategy=reference,
            limits=parse_limits(limit or (), _split(no_borrow)), evidence=evidence,
            rescreen=rescreen if evidence else 0,
            content_hash="" if prices is None else prices.content_hash,
        )
    )  # fmt: skip
    source = opened or _replay(prices, plan, speed)
    folder = RunFolder(state)
    folder.create()
    with _serving(out, folder, page, host, port), folder.own(), stoppable():
        if topics is not None:
            folder.set_log(topics)
        goes_on = setup.keep(folder, plan)
        out.note(f"{'going on with' if goes_on else 'new run'}: {state} ({feed})")
        running = Run(folder, source, _loader(reference), alerts.take,
                      None if keep is None else round(keep * 86_400_000))  # fmt: skip
        with (
            _stating(out, running) if statements else nullcontext(),
            exporting(
                out, write, folder.open_log, topics_of_run.MEASURED, topics_of_run.TAGS,
                {"run": folder.name},
            ),
        ):  # fmt: skip
            try:
                progress = running.go()
            finally:
                running.close()
                alerts.close()
    _show(progress, state, json)


def _first_tickers(
    out: Output, folder: RunFolder, feed: Feed, count: int
) -> tuple[tuple[str, ...], Feed]:
    """Return the tickers that a run has, or the first ones of its feed, and the feed."""
    from mlkit.pairs.feeds.first import first_tickers

    if folder.has_plan():
        return folder.plan().tickers, feed
    out.note(f"waiting for {count:,} tickers of {feed.name}")
    return first_tickers(feed, count)


@contextmanager
def _stating(out: Output, running: Run) -> Iterator[None]:
    """Write statements of sessions that end while the block runs."""
    from mlkit.pairs.live.statements import Statements

    statements = Statements(
        running.folder, running.plan, lambda text: out.note(f"warning: {text}"),
        by_clock=not running.feed.is_replay,
    )  # fmt: skip
    running.watch(statements.take)
    try:
        yield
    finally:
        statements.close()


@contextmanager
def _serving(out: Output, folder: RunFolder, page: bool, host: str, port: int) -> Iterator[None]:
    """Serve the page while the block runs, from a process that is started before any thread."""
    if not page:
        yield
        return
    from mlkit.pairs.live.server.process import PageProcess

    process = PageProcess(folder, host, port)
    process.start()
    out.note(f"watch it at {process.url}")
    try:
        yield
    finally:
        process.stop()


def _prices(out: Output, feed: str, reading: Mapping[str, Any]) -> Prices | None:
    """Read a feed that is a price file; None if it is another one."""
    if feed == "-" or "://" in feed or not Path(feed).exists():
        return None
    return load(out, Source.of([feed], reading))


def _strategy_of(
    repeat: Path | None,
    settings: Mapping[str, Any],
    pair: list[str] | None,
    pairs: Path | None,
    refit: bool,
    strategy: str | None,
) -> tuple[list[GivenPair], Settings, Reference | None, float]:
    """Return pairs, settings, strategy and bars per year, given or of a recorded backtest."""
    from mlkit.errors import UsageError
    from mlkit.pairs.backtest.records import read_run
    from mlkit.pairs.strategy import file

    if repeat is None:
        own = None if strategy is None else file.reference(file.load(strategy))
        return read_pairs(pair, pairs, refit), build(settings), own, 0.0
    if pair or pairs or strategy:
        raise UsageError("--from brings pairs and strategy: without --pair, --pairs, --strategy")
    recorded = read_run(repeat)
    return recorded.pairs, recorded.settings, recorded.strategy, recorded.bars_per_year


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(each.strip() for each in (text or "").split(",") if each.strip())


def _infer(prices: Prices | None, settings: Settings) -> float:
    from mlkit.pairs.backtest.calendar import infer_bars_per_year

    return 0.0 if prices is None else infer_bars_per_year(prices, settings.formation)


def _zone(name: str) -> str:
    from zoneinfo import ZoneInfo

    from mlkit.errors import UsageError

    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(f"--timezone {name}: no such time zone",
                         hint="America/New_York") from error  # fmt: skip


def _replay(prices: Prices | None, plan: RunPlan, speed: str) -> Feed:
    from mlkit.pairs.feeds.replay import ReplayFeed

    assert prices is not None
    return ReplayFeed(prices.select(plan.tickers), _speed(speed))


def _speed(text: str) -> float:
    from mlkit.errors import UsageError

    try:
        found = math.inf if text == "max" else float(text)
    except ValueError:
        found = math.nan
    if not found > 0.0:
        raise UsageError(f"--speed {text}: expected bars per second, or max")
    return found


def _loader(reference: Reference | None) -> Callable[[], Strategy] | None:
    from mlkit.pairs.strategy import file

    return None if reference is None else partial(file.reload, reference)


def _show(progress: Progress, state: Path, json: bool) -> None:
    account = progress.account
    if json:
        fields = {"status": progress.status, "bars": progress.bars, "account": account}
        Output.document("pairs.live", 1, {"state": str(state), **fields})
    else:
        equity = f", equity {account['equity']:,.2f}" if account else ""
        Output.line(f"{progress.status}: {format_count(progress.bars, 'bar')}{equity}")
    if progress.status in ("killed", "stopped"):
        raise typer.Exit(1)
