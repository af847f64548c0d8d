"""Pair trading: price files, the screen for cointegrated pairs, and the fit of one pair."""
