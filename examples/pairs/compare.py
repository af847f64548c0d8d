"""Print backtests side by side: compare.py RUN.json ..., as `backtest --json` writes them."""

import json
import sys
from pathlib import Path


def rows(run):
    """Return the lines of one backtest: what it traded, what it earned, how sure that is."""
    windows, sure = run["windows"], run["performance"]
    even = run["money"]["break_even_bps"]
    return {
        "windows with a pair": f"{windows['windows'] - windows['without_pairs']} of "
        f"{windows['windows']}",
        "trades": f"{run['trading']['trades']:,}",
        "total return": percent(sure["total_return"]),
        "maximum drawdown": percent(sure["max_drawdown"]),
        "Sharpe, a year": "-" if sure["sharpe"] is None else f"{sure['sharpe']:.2f}",
        "probabilistic Sharpe": percent(sure["probabilistic_sharpe"]),
        "break-even cost": "-" if even is None else f"{even:.1f} bp",
    }


def percent(value):
    """Return a share in percent; a dash if there is none."""
    return "-" if value is None else f"{100 * value:.1f} %"


def main(paths):
    """Print the table, and what it does not show."""
    columns = [rows(json.loads(Path(path).read_text())) for path in paths]
    print(" " * 24 + "".join(f"{Path(path).stem:>16}" for path in paths))
    for name in columns[0]:
        print(f"{name:24}" + "".join(f"{column[name]:>16}" for column in columns))
    print(
        "\nWhere few windows pass a pair, the figures come from a handful of trades. The\n"
        "companies were chosen because they survived: this is not evidence for a strategy."
    )


main(sys.argv[1:])
