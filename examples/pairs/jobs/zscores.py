"""Z-scores of closes: a data frame a batch, with built-in features that remember by themselves.

mlkit pairs job test zscores.py --on prices.csv
mlkit pairs job run zscores.py --in bars --out zscores --log live/log
"""

from mlkit.pairs.jobs import features

WINDOW = 60

state = {}  # what the features remember; kept with the offsets and the output


def process(data):
    """Return the z-score and the volatility of each bar that has them."""
    data["z"] = features.zscore(state, data, WINDOW)
    data["volatility"] = features.ewma_volatility(state, data, 0.94)
    return data.dropna(subset=["z"])[["time", "ticker", "close", "z", "volatility"]]
