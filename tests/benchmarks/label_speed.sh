#!/usr/bin/env bash
# How labelling scales with --jobs, and what a run costs that has nothing left to do: ratios within one run.
# Usage: tests/benchmarks/label_speed.sh FOLDER   (takes its first 40 pictures)
set -euo pipefail

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir "$work/pictures"
find "$1" -maxdepth 1 -type f -name '*.jpg' | sort | head -n 40 | xargs cp -t "$work/pictures"

seconds() { # of a command
  local start end
  start=$(date +%s.%N)
  "$@" >/dev/null 2>&1
  end=$(date +%s.%N)
  echo "$end - $start" | bc
}
label() { kcompress label "$work/pictures" --pool ar,nlm,detail --max-group 2 "$@"; }

one=$(seconds label --jobs 1 -o "$work/one")
two=$(seconds label --jobs 2 -o "$work/two")
again=$(seconds label --jobs 2 -o "$work/two" --resume)
start=$(seconds kcompress label --help)

echo "40 pictures, pool ar,nlm,detail, K=2: --jobs 1 $one s, --jobs 2 $two s"
echo "--jobs 2 / --jobs 1 (0.6 allowed): $(echo "scale=2; $two / $one" | bc)"
echo "--resume with nothing to do: $again s, of which start-up $start s (2 s more allowed)"
python - "$work" <<'PYTHON'
import csv
import sys

one, two = (
    [{**row, "seconds": ""} for row in csv.DictReader(open(f"{sys.argv[1]}/{name}/labels.csv", newline=""))]
    for name in ("one", "two")
)
print(f"{len(one)} rows, " + ("the same but for seconds" if one == two else "DIFFERENT"))
PYTHON
