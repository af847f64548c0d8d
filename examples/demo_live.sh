#!/usr/bin/env bash
# Replay two years of the bundled prices as if they were live, kill the run in the middle, go on, and
# prove that nothing was lost: its recorded bars give the same trades in a backtest, bit for bit.
set -euo pipefail
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/pairs
work=$(mktemp -d)
run=
trap 'kill -9 "$run" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '\033[2m$ %s\033[0m\n' "$*"; }

command=(mlkit pairs live "$examples/us_large_caps.csv.gz" --pair KO,PEP --pair XOM,CVX --pair JPM,BAC
  --start 2020-01-01 --stop 2023-01-01 --formation 252 --entry 1.5 --limit gross=40000 --state run)

say "Pairs live: two years at 50 bars a second, after one to fit on; killed in the middle"
show "${command[@]}" --speed 50
"${command[@]}" --speed 50 &
run=$!
bars() { mlkit pairs live status run --json 2>/dev/null | sed -n 's/^  "bars": \([0-9]*\),$/\1/p'; }
until [ "$(bars)" -ge 300 ] 2>/dev/null; do
  kill -0 "$run" 2>/dev/null || break
  sleep 0.2
done
show kill -9 "$run"
kill -9 "$run" 2>/dev/null || true
wait "$run" 2>/dev/null || true
run=

say "Pairs live: the same command goes on"
show "${command[@]}"
"${command[@]}"
show mlkit pairs live status run
mlkit pairs live status run
show mlkit pairs live verify run
mlkit pairs live verify run
