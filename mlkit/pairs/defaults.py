"""Defaults of jobs, live runs and fits, which options show without an import of what they set.

Those of a screen and a backtest are in `settings`.
"""

from __future__ import annotations

from typing import Final

COST: Final = 0.001
"""Cost of a fit's example trades, as a share of their value."""
KEY: Final = "ticker"
"""The field by which jobs keep state."""
BATCH: Final = 10_000
"""Records that a job takes at once."""
RECORDED_BATCH: Final = 1000
RESTARTS: Final = 3
RSCRIPT: Final = "Rscript"
HALTED_AFTER: Final = 3
"""Bars without a price after which a ticker counts as halted."""
TIMEZONE: Final = "UTC"
INFLUX_GROUP: Final = "influx"
