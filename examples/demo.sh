#!/usr/bin/env bash
# Run the main job of every workload on the bundled examples. Leaves only the reports behind,
# whose place it prints.
set -euo pipefail
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
  rm -rf "$work"
}
trap finish EXIT
cd "$work"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }

say "This machine"
run mlkit doctor

say "Bandit: from a click log to posteriors"
run mlkit bandit fit "$examples/bandit/random_men.csv.gz" \
  --arm item_id --reward click --context segment -o posteriors.parquet
run mlkit bandit show posteriors.parquet --top 8 --seed 1

say "Bandit: what Thompson sampling would earn, from a log of random choices, beside the truth"
run python "$examples/bandit/beside_truth.py" \
  "$examples/bandit/random_men.csv.gz" "$examples/bandit/bts_men.csv.gz"

say "Bandit: recommendations over HTTP, under load"
printf '\033[2m$ mlkit bandit serve posteriors.parquet --state state --port 0\033[0m\n'
mlkit bandit serve posteriors.parquet --state state --port 0 2>server.log &
server=$!
for _ in $(seq 200); do
  url=$(sed -n 's/^serving at \(http:[^ ]*\) .*/\1/p' server.log)
  [ -n "$url" ] && break
  kill -0 "$server" 2>/dev/null || { cat server.log >&2; exit 1; }
  sleep 0.1
done
[ -n "$url" ] || { cat server.log >&2; exit 1; }
run python "$examples/bandit/client.py" "$url"

bash "$examples/demo_pairs.sh"
bash "$examples/demo_live.sh"
bash "$examples/demo_bpmn.sh"
bash "$examples/demo_image.sh"
bash "$examples/demo_platform.sh"
