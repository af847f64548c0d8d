"""Bars of a minute from ticks; an open bar is kept until the first tick after its end.

mlkit pairs job run bars.py --in ticks --out bars --log live/log
"""

from mlkit.pairs.jobs import features

SECONDS = 60

state = {}


def process(data):
    """Return the bars that the new ticks have closed."""
    return features.bars(state, data, SECONDS)
