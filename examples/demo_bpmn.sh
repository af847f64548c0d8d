#!/usr/bin/env bash
# Run the showcase pipeline, approve it from the shell, and show what it did.
set -euo pipefail
examples=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
run() { printf '\033[2m$ %s\033[0m\n' "$*"; "$@"; }

say "BPMN: fetch data, train a model, and wait for the owner's approval"
run mlkit bpmn lint "$examples/bpmn/showcase/pipeline.bpmn"
# Exit code 3 says that the pipeline waits for a person.
run mlkit bpmn run "$examples/bpmn/showcase/pipeline.bpmn" \
  --var owner=ann --var source=clicks.csv --no-input || [ $? -eq 3 ]
run mlkit bpmn tasks
instance=$(mlkit bpmn list | cut -d ' ' -f 1)

say "BPMN: approve it, and the pipeline goes on"
run mlkit bpmn approve approve --comment "good enough"
run mlkit bpmn history "$instance"
run mlkit bpmn logs "$instance"
run mlkit bpmn render --instance "$instance"

say "BPMN: deploy by a decision table, and see which rule decided"
run mlkit bpmn run "$examples/bpmn/rollout/rollout.bpmn" --var answers=answers.csv --var region=EU
run mlkit bpmn render "$examples/bpmn/rollout/rollout.dmn" \
  --var 'candidate accuracy=0.85' --var 'serving accuracy=0.8' --var region=EU
