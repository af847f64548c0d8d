"""New highs: one record a call, with a state of one's own.

mlkit pairs job run extremes.py --in bars --out extremes --log live/log
"""

RECORDS = "one"

seen = {}


def snapshot():
    """Return what is kept with the offsets and the output."""
    return seen


def recover(state):
    """Go on from what `snapshot` returned."""
    seen.update(state)


def process(data):
    """Return a record when a ticker closes above all its closes before."""
    ticker, close = data["ticker"], data.get("close")
    if close is None:
        return None
    count, highest = seen.get(ticker, (0, float("-inf")))
    seen[ticker] = (count + 1, max(close, highest))
    if count and close > highest:
        return {"time": data["time"], "ticker": ticker, "high": close, "bars": count + 1}
    return None
