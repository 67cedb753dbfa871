#!/usr/bin/env bash
# Stops a run at random moments, resumes it, and compares what it ends with to a run that was not stopped.
#
#   runs/resume_check.sh [DATA] [STEPS] [STOPS] [WORK]
#
# DATA: a folder made by `dnalm prepare` (default: a small genome is made up).  STEPS: of the run (default 200).
# STOPS: how often it is stopped, by turns with kill -9, SIGTERM and Ctrl-C's signal (default 6).
# WORK: an empty place for both runs (default: a temporary folder).  DEVICE: cpu or cuda (default: cpu).
# FLAGS="..." are passed to pretrain.
# Ends with "same" and 0, or with what differs and 1; with 1 too where fewer than half of the stops met it running.
set -euo pipefail
data=${1:-} steps=${2:-200} stops=${3:-6} work=${4:-$(mktemp -d)}
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
export PYTHONPATH=$here OMP_NUM_THREADS=1

if [ -z "$data" ]; then
  "$python" - "$work/genome.fa" <<'PYTHON'
import random
import sys

draws = random.Random(0)
with open(sys.argv[1], "w") as file:
    for name in ("one", "two"):
        file.write(f">{name}\n{''.join(draws.choices('ACGT', k=50_000))}\n")
PYTHON
  "$python" -m dnalm prepare "$work/genome.fa" --out "$work/data" --vocab vocab4 --val-contigs two --quiet
  data=$work/data/vocab4
fi
mode=$(basename "$data")

pretrain() { # OUT MORE...: replaces this shell, so that a signal reaches the run itself
  local out=$1
  shift
  # shellcheck disable=SC2086
  exec "$python" -m dnalm pretrain --data "$data" --out "$out" --steps "$steps" --checkpoint-every 5 --eval-every 20 \
    --n-layer 2 --n-head 2 --n-embd 32 --block-size 64 --batch-size 8 --dropout 0.1 --eval-bases 2000 \
    --final-bases 2000 --device "${DEVICE:-cpu}" --deterministic --threads 1 --quiet ${FLAGS:-} "$@"
}

begin=$(date +%s%N)
(pretrain "$work/whole" >/dev/null)
span=$((($(date +%s%N) - begin) / 1000000)) # ms
signals=(KILL TERM INT) stopped=0
RANDOM=1
for ((stop = 0; stop < stops; stop++)); do
  how=()
  if [ -d "$work/stopped/$mode/last" ] || [ -d "$work/stopped/$mode/last-before" ]; then how=(--resume); fi
  set -m # a process group of its own: bash would have a process in the background ignore Ctrl-C's signal
  (pretrain "$work/stopped" "${how[@]}" >/dev/null 2>&1) &
  set +m
  wait_ms=$((span / 3 + RANDOM * span / 2 / 32768))
  sleep "$((wait_ms / 1000)).$(printf %03d $((wait_ms % 1000)))"
  kill -s "${signals[stop % 3]}" $! 2>/dev/null || true
  code=0
  wait $! || code=$?
  echo "stop $((stop + 1)) by ${signals[stop % 3]} after $wait_ms ms: exit code $code"
  if [ "$code" -eq 130 ] || [ "$code" -eq 137 ] || [ "$code" -eq 143 ]; then stopped=$((stopped + 1)); fi
done
if [ $((2 * stopped)) -lt "$stops" ]; then
  echo "only $stopped of $stops stops met the run before its end: give it more STEPS" >&2
  exit 1
fi
how=()
if [ -d "$work/stopped/$mode/last" ] || [ -d "$work/stopped/$mode/last-before" ]; then how=(--resume); fi
(pretrain "$work/stopped" "${how[@]}" >/dev/null)

"$python" - "$work/whole/$mode" "$work/stopped/$mode" <<'PYTHON'
import json
import sys
from pathlib import Path


def content(folder):
    """Digests of the weights and of the training state, scores and the log, without times."""
    found = {}
    for name in ("checkpoint", "last"):
        about = json.loads((folder / name / "checkpoint.json").read_text())
        found[f"{name}: tensors"] = about["files"]["model.safetensors"]["sha256"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found["log"] = [{key: value for key, value in line.items() if key != "elapsed"} for line in lines]
    found["bits per base"] = json.loads((folder / "run.json").read_text())["metrics"]["bits_per_base"]
    return found


whole, stopped = (content(Path(folder)) for folder in sys.argv[1:])
for name in whole:
    print(f"{name}: {'same' if whole[name] == stopped[name] else 'DIFFERENT'}")
    if isinstance(whole[name], str):
        print(f"  {whole[name]}\n  {stopped[name]}")
print("same" if whole == stopped else "not the same")
sys.exit(whole != stopped)
PYTHON
