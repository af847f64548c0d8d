"""One pair in depth: hedge ratios, spreads, half-lives, optimal thresholds."""
