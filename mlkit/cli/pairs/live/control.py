"""`mlkit pairs live status|pause|resume|flatten|kill`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlkit.cli.groups import examples
from mlkit.cli.options import Json
from mlkit.cli.output import Output, format_count, of

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the run.")]
PairArgument = Annotated[
    str | None, typer.Argument(metavar="[PAIR]", help="One pair, Y/X (default: all).")
]


@examples("mlkit pairs live status run", "mlkit pairs live status run --json")
def status(run: RunArgument, json: Json = False) -> None:
    """Show what a run is doing: account, pairs, limits, and the state of its feed.

    Exits 0 if a process runs it, and 3 if none does.
    """
    from mlkit.pairs.live.folder import RunFolder

    folder = RunFolder(run)
    plan, is_owned = folder.plan(), folder.is_owned()
    shown = folder.status()
    if json:
        Output.document("pairs.live.status", 1, {"feed": plan.feed, "runs": is_owned, **shown})
    else:
        _show(shown, is_owned)
    if not is_owned and shown["status"] != "finished":
        raise typer.Exit(3)


def _show(shown: dict[str, Any], is_owned: bool) -> None:
    account, feeds = shown["account"], shown["feeds"]
    runs = "" if is_owned or shown["status"] == "finished" else "; no process runs it"
    blocks = f"; no new positions ({', '.join(shown['blocks'])})" if shown["blocks"] else ""
    Output.line(f"{shown['status']}{runs}{blocks}")
    moment = shown["time"] or "no bar yet"
    Output.line(f"{moment}, {format_count(shown['bars'], 'bar')} of {shown['feed']}")
    if account:
        Output.line(
            f"equity {account['equity']:,.2f}, gross {account['gross']:,.2f}, "
            f"drawdown {shown['drawdown']:.2%}, today {-shown['daily_loss']:+z.2%}"
        )
    for each in shown["pairs"]:
        if each["legs"]:
            z = "-" if each["features"]["z"] is None else f"{each['features']['z']:+.2f}"
            held = f"{each['gross']:,.2f} held, {each['result']:+,.2f}"
            Output.line(f"  {each['pair']}: z {z}, {held}")
    for each in shown["limits"]:
        Output.line(f"  limit {each['limit']}: {each['value']:,.4g} of {each['bound']:,.4g}")
    odd = {name: n for name, n in feeds["records"].items() if name != "accepted"}
    cells = ", ".join(f"{name} {n:,}" for name, n in {**odd, **feeds["rejected"]}.items())
    Output.line(f"feed: {format_count(feeds['records'].get('accepted', 0), 'record')}"
                f"{'; ' + cells if cells else ''}")  # fmt: skip


def _command(context: typer.Context, name: str, run: Path, pair: str | None, json: bool) -> None:
    import getpass

    from mlkit.errors import Waiting
    from mlkit.pairs.live.control import send
    from mlkit.pairs.live.folder import RunFolder

    if not send(RunFolder(run), name, pair or "", by=getpass.getuser()):
        raise Waiting(f"{run}: no process runs it; {name} takes effect when it continues",
                      hint="start it again with the command that started it")  # fmt: skip
    if json:
        Output.document("pairs.live.control", 1, {"command": name, "pair": pair})
    else:
        of(context).note(f"{run}: {name}{' ' + pair if pair else ''} done")


@examples("mlkit pairs live pause run", "mlkit pairs live pause run KO/PEP")
def pause(
    context: typer.Context, run: RunArgument, pair: PairArgument = None, json: Json = False
) -> None:
    """Open no new positions; open positions keep running to their exits."""
    _command(context, "pause", run, pair, json)


@examples("mlkit pairs live resume run", "mlkit pairs live resume run KO/PEP")
def resume(
    context: typer.Context, run: RunArgument, pair: PairArgument = None, json: Json = False
) -> None:
    """Trade again after a pause, a blocking limit, a flatten or a kill."""
    _command(context, "resume", run, pair, json)


@examples("mlkit pairs live flatten run", "mlkit pairs live flatten run KO/PEP")
def flatten(
    context: typer.Context, run: RunArgument, pair: PairArgument = None, json: Json = False
) -> None:
    """Close positions at the next bar, cancel waiting entries, and open no new ones."""
    _command(context, "flatten", run, pair, json)


@examples(
    "mlkit pairs live kill run",
    "mlkit pairs live kill run KO/PEP",
    "touch run/KILL  # when nothing else works",
)
def kill(
    context: typer.Context, run: RunArgument, pair: PairArgument = None, json: Json = False
) -> None:
    """Cancel waiting entries, and end the run; positions stay open.

    Of one pair: flatten it, and trade it no more. A file KILL in the run's folder does the same as
    `kill`, and keeps the run from starting again until it is removed.
    """
    _command(context, "kill", run, pair, json)
