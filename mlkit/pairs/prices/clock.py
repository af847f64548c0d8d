"""What clocks of a time zone show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def wall_clock(moments: NDArray[np.datetime64], timezone: str) -> NDArray[np.datetime64]:
    """Return what a clock of the zone, or of the fixed offset, shows at moments in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if timezone[0] in "+-":
        hours, minutes = (int(part) for part in timezone[1:].split(":"))
        shift = np.timedelta64(60 * hours + minutes, "m")
        return moments - shift if timezone[0] == "-" else moments + shift
    utc = pa.array(moments).cast(pa.timestamp("ns", tz="UTC"))
    local = pc.local_timestamp(utc.cast(pa.timestamp("ns", tz=timezone)))
    return np.asarray(local.to_numpy(zero_copy_only=False))
