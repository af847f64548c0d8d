#!/usr/bin/env bash
# Run the showcase at a server, and show where it waits for approval in a browser. On a terminal the
# server stays for a minute, or until Enter.
set -euo pipefail
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/bpmn
work=$(mktemp -d)
server=
finish() {
  [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
  rm -rf "$work"
}
trap finish EXIT
cd "$work"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '\033[2m$ %s\033[0m\n' "$*"; }
run() { show "$@"; "$@"; }

say "BPMN: the same pipeline at a server, for people in a browser"
show mlkit bpmn serve --port 0
mlkit bpmn serve --port 0 2>server.log &
server=$!
url=
until [ -n "$url" ]; do
  kill -0 "$server" 2>/dev/null || { cat server.log >&2; exit 1; }
  sleep 0.1
  url=$(sed -n 's/^serving .* at \(http:[^ ;]*\);.*/\1/p' server.log)
done
run mlkit bpmn deploy "$examples/showcase/pipeline.bpmn" --server "$url"
run python "$examples/start.py" "$url" showcase owner=ann source="$examples/showcase/clicks.csv"
if [ -t 0 ] && [ -t 1 ]; then
  printf '\nOpen that page to see it wait, and %s/tasks?show=all to approve it.\n' "$url"
  printf 'The server stays for a minute; Enter ends it. '
  read -r -t 60 || true
fi
