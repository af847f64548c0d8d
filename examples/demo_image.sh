#!/usr/bin/env bash
# The suicidal container: dead in exec form, diagnosed, slimmed, alive. Leaves nothing behind.
set -euo pipefail
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }

say "Image: a container that dies as process 1"
if ! mlkit doctor --json | grep -A3 '"Docker Engine"' | grep -q '"state": "ok"'; then
  echo "skipped: no Docker Engine is running here (mlkit doctor says how to get one)"
  exit 0
fi
if ! command -v cc >/dev/null; then
  echo "skipped: the example is a C program, and there is no C compiler here"
  exit 0
fi
name=mlkit-demo-suicidal
work=$(mktemp -d)
trap 'docker rmi -f "$name" "$name-slim" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT
export DOCKER_API_VERSION=${DOCKER_API_VERSION:-1.41}
cc -O1 -static -o "$work/prefork" "$examples/image/prefork.c"
cp "$examples/image/Dockerfile" "$work/"
docker build -q -t "$name" "$work" >/dev/null 2>&1
run mlkit image doctor "$name" --probe http:3000/ --watch 1 --patience 3 || true
run mlkit image slim "$name" -t "$name-slim" --base none --probe http:3000/ --watch 1 --patience 3
