"""`mlkit bandit serve` and `mlkit bandit export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlkit.bandit.defaults import DEDUPE_DAYS, MAX_BODY, MAX_CANDIDATES, MAX_K, PORT, NewArms
from mlkit.cli import output
from mlkit.cli.bandit.durations import half_life_of, seconds_of, time_of, window_of
from mlkit.cli.bandit.features import with_features
from mlkit.cli.bandit.fit import AsOf, HalfLife, WindowOption
from mlkit.cli.bandit.fleet import with_fleet
from mlkit.cli.bandit.limits import ShownLimits, with_limits
from mlkit.cli.bandit.models import Policy
from mlkit.cli.groups import examples
from mlkit.cli.options import MAX_UNPACKED, MOST, Json, MaxRatio, MaxUnpacked, unpack_limits
from mlkit.unpacking import UnpackLimits
from mlkit.web.defaults import CONNECTIONS, DRAIN_TIMEOUT, HOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlkit.bandit.server.settings import Settings


State = Annotated[
    Path,
    typer.Option(metavar="DIR", help="State directory: journal, key, copy of the posteriors."),
]


@examples(
    "mlkit bandit serve posteriors.parquet --state ./state",
    "mlkit bandit serve posteriors.parquet --state /var/lib/mlkit --host 0.0.0.0 --port 80 "
    "--workers 4 --token-file /run/secrets/token --log /var/log/mlkit",
)
@with_fleet
@with_features
@with_limits
def serve(
    context: typer.Context,
    posteriors: Annotated[
        Path,
        typer.Argument(metavar="POSTERIORS", help="Posteriors file; SIGHUP reads it again."),
    ],
    state: State,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free port.")
    ] = PORT,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Number of worker processes (default: one per core)."),
    ] = None,
    policy: Policy = None,
    half_life: HalfLife = None,
    window: WindowOption = None,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt",
            help=(
                "Replace the posteriors in the state directory, and all that was "
                "learned since, by this file."
            ),
        ),
    ] = False,
    new_arms: Annotated[
        NewArms,
        typer.Option(
            help=("How arms are added: by PUT /arms only, or also by feedback for unknown arms.")
        ),
    ] = NewArms.PUT,
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Directory for logs of decisions and feedback (JSON Lines)."
        ),
    ] = None,
    propensities: Annotated[
        float,
        typer.Option(
            min=0, max=1, metavar="SHARE", help="Share of decisions whose propensities are logged."
        ),
    ] = 0.0,
    *,
    shown: ShownLimits,
    position_model: Annotated[
        str | None,
        typer.Option(
            metavar="P,...",
            help=(
                "Examination probabilities of the positions, from the first; they "
                "correct rewards for position bias."
            ),
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File of accepted bearer tokens, one per line: TOKEN [ROLES [NAME]].",
        ),
    ] = None,
    dedupe_window: Annotated[
        float,
        typer.Option(min=0.001, metavar="DAYS", help="Days for which event ids are remembered."),
    ] = DEDUPE_DAYS,
    attribution: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="Attribution window, such as 24h: arms shown without a reward by then count as 0.",
        ),
    ] = None,
    candidate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=(
                "Second version of the model, which answers --share of the users; in a fleet, "
                "on all hosts."
            ),
        ),
    ] = None,
    share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of users who are answered by the candidate."),
    ] = 0.0,
    drain_timeout: Annotated[
        float,
        typer.Option(
            "--drain-timeout",
            "--grace",
            min=1,
            max=MOST,
            metavar="SECONDS",
            help="Seconds to finish the requests in flight on SIGTERM.",
        ),
    ] = DRAIN_TIMEOUT,
    max_body: Annotated[
        int, typer.Option(min=1, max=MOST, help="Maximum size of a request body, in bytes.")
    ] = MAX_BODY,
    max_candidates: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST,
            help=("Maximum number of candidates per request; without candidates, all arms count."),
        ),
    ] = MAX_CANDIDATES,
    max_k: Annotated[
        int, typer.Option("--max-k", min=1, max=65535, help="Maximum number of arms in a response.")
    ] = MAX_K,
    max_connections: Annotated[
        int, typer.Option(min=1, max=MOST, help="Maximum number of open connections per worker.")
    ] = CONNECTIONS,
    max_unpacked: MaxUnpacked = MAX_UNPACKED,
    max_ratio: MaxRatio = UnpackLimits.ratio,
    from_store: Any,
    in_fleet: Any,
) -> None:
    """Serve recommendations over HTTP, and learn from feedback.

    POST /predict, POST /feedback (each also with /batch), POST /feedback/amend, GET|PUT|DELETE
    /arms, GET /versions, POST /promote, /rollback, GET /health, /metrics, /overview and /docs;
    GET / is a dashboard.
    Acknowledged feedback is on disk in the state directory. SIGTERM finishes the requests in flight
    and exits 143; SIGHUP reloads the posteriors file.
    """
    import os

    from mlkit.bandit.server.api.messages import Limits
    from mlkit.bandit.server.settings import ROLES, Settings
    from mlkit.web.access import read_tokens
    from mlkit.web.listeners import is_loopback
    from mlkit.web.protocol import ConnectionLimits

    if token_file is None and not is_loopback(host):
        output.of(context).note(
            f"warning: others may reach {host}, and do everything: --token-file asks for tokens"
        )
    settings = Settings(
        posteriors=posteriors,
        state=state,
        host=host,
        port=port,
        workers=workers or len(os.sched_getaffinity(0)),
        policy=_policy(policy),
        half_life=half_life_of(half_life),
        window=window_of(window, half_life),
        adopt=adopt,
        **shown._asdict(),
        examination=_examination(position_model),
        propensities=_share(propensities, log),
        log=log,
        tokens=None if token_file is None else read_tokens(token_file, ROLES, in_parts=False),
        dedupe_window=dedupe_window * 86400,
        attribution=_attribution(attribution, dedupe_window * 86400),
        candidate=candidate,
        share=_candidate_share(share, candidate),
        new_arms=new_arms,
        drain_timeout=drain_timeout,
        fleet=in_fleet,
        features=from_store,
        limits=Limits(max_body=max_body, max_candidates=max_candidates, max_k=max_k),
        connections=ConnectionLimits(connections=max_connections),
        unpacking=unpack_limits(max_unpacked, max_ratio),
    )
    raise typer.Exit(_run(settings, output.of(context).note))


def _policy(text: str | None) -> str | None:
    """Return a policy in the one way of writing it."""
    from mlkit.bandit.policies import catalog

    return None if text is None else str(catalog.parse(text))


def _candidate_share(share: float, candidate: Path | None) -> float:
    from mlkit.errors import UsageError

    if share and candidate is None:
        raise UsageError("--share: there is no candidate", hint="--candidate FILE names it")
    return share


def _attribution(text: str | None, window: float) -> float | None:
    from mlkit.errors import UsageError

    found = seconds_of("--attribution", text)
    if found is not None and not 0 < found <= window:
        hint = "a reward is accepted for so long; --dedupe-window DAYS sets it"
        text = f"--attribution {text}: expected more than 0, up to the dedupe window"
        raise UsageError(text, hint=hint)
    return found


def _share(share: float, log: Path | None) -> float:
    from mlkit.errors import UsageError

    if share and log is None:
        raise UsageError("--propensities: there is no log", hint="--log DIR writes it")
    return share


def _examination(text: str | None) -> tuple[float, ...]:
    from mlkit.errors import UsageError

    if text is None:
        return ()
    try:
        found = tuple(float(each) for each in text.split(","))
    except ValueError:
        found = ()
    if not found or not all(0 < each <= 1 for each in found):
        hint = "`mlkit bandit log positions` estimates them"
        raise UsageError(f"--position-model {text}: expected P,... in (0, 1]", hint=hint)
    return found


def _run(settings: Settings, note: Callable[[str], None]) -> int:
    import logging
    import os

    # One thread of linear algebra a process: forking is safe, and the server uses none.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    from mlkit.bandit.server.processes import service

    return service.serve(settings, lambda url: _announce(url, settings, note))


def _announce(url: str, settings: Settings, note: Callable[[str], None]) -> None:
    header = "" if settings.tokens is None else " -H 'Authorization: Bearer TOKEN'"
    note(f"serving at {url} with {settings.workers} workers; {url}/docs describes it")
    note(f"""try: curl{header} {url}/predict -d '{{"k": 3}}'""")


@examples(
    "mlkit bandit export --state ./state -o posteriors.parquet",
    "mlkit bandit export --state ./state -o - | head",
)
def export(
    context: typer.Context,
    state: State,
    to: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="POSTERIORS",
            help=("File to write: .parquet or .csv; - is CSV on standard output."),
        ),
    ],
    as_of: AsOf = None,
    json: Json = False,
) -> None:
    """Write the current posteriors of a server, running or not."""
    from mlkit.bandit.server.learning.export import export as export_state

    rows = export_state(state, to, as_of=time_of("--as-of", as_of))
    if json:
        output.Output.document("bandit.export", 1, {"posteriors": rows, "output": str(to)})
    else:
        place = "standard output" if str(to) == "-" else to
        output.of(context).note(f"{rows:,} posteriors written to {place}")
