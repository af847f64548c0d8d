#!/usr/bin/env bash
# Walk forward over the bundled prices twice: pairs by cointegration, and pairs by distance.
set -euo pipefail
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/pairs
prices=$examples/us_large_caps.csv.gz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# These are kept, to be looked at.
reports=$(realpath -m "${MLKIT_DEMO_REPORTS:-$(mktemp -d -t mlkit-reports.XXXXXX)}")
mkdir -p "$reports"
cd "$work"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '\033[2m$ %s\033[0m\n' "$*"; }
run() { show "$@"; "$@"; }
walk() {
  local command=(mlkit pairs backtest "$prices" --formation 252 --trading 126 --method "$1"
    --report "$reports/$1.html" --json)
  show "${command[@]}"
  "${command[@]}" >"$1.json"
}

say "Pairs: which of 190 pairs are cointegrated, after false discovery control?"
run mlkit pairs screen "$prices" --start 2015-01-01 --stop 2020-01-01

say "Pairs: walking forward over 33 years, by cointegration and by distance"
walk cointegration
walk distance
python "$examples/compare.py" cointegration.json distance.json

say "Pairs: 20 settings for the second one: how much of the best is luck, and what choosing by the past earns"
run mlkit pairs sweep "$prices" --formation 252 --trading 126 --method distance \
  --entry 1:3:0.5 --exit 0,0.5 --lookback 40,60 --walk-forward --report "$reports/sweep.html"

say "Pairs: the reports, to be opened in a browser"
printf 'file://%s\n' "$reports"/*.html
