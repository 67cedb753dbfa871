#!/usr/bin/env bash
# The interaction runs behind docs/interaction.md: pairs in five splits with three seeds each, the original model
# and the ladder of baselines on every one of them, their records, the page.
#
#   runs/interaction.sh PAIRS GENES [WORK [SEED ...]]
#
# PAIRS, GENES: CTD's positive pairs and the sequences of their genes.  WORK: default work.  SEED: default 0 1 2.
# Run it again to go on: what WORK has the results of is left alone.  No weights or scores leave WORK.
set -euo pipefail
pairs=$1 genes=$2 work=${3:-work}
shift $(($# < 3 ? $# : 3))
[ $# -gt 0 ] || set -- 0 1 2
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
# One pass over the pairs at ten times the published rate, falling to 0: the published recipe is a constant rate for
# up to 50 passes, hours on two cores.
train_flags=(--model original --batch-size 256 --epochs 1 --lr 1e-3 --min-lr 0 --warmup-share 0.1)

dnalm() { PYTHONPATH=$here "$python" -m dnalm "$@"; }
keep() { mkdir -p "$here/docs/records/$1"; cp "$2" "$here/docs/records/$1/run.json"; }

for seed in "$@"; do for split in random cold-molecule scaffold cold-gene cold-both; do
  name=$split-$seed
  set_folder=$work/pairs/$name run=$work/interaction/$name/original
  [ -f "$set_folder/meta.json" ] || dnalm interact prepare --pairs "$pairs" --genes "$genes" --split "$split" \
    --seed "$seed" --out "$set_folder"
  [ -f "$run/results.json" ] || dnalm interact train --data "$set_folder" --out "$run" --overwrite "${train_flags[@]}"
  [ -f "$run/../evaluation_test.json" ] || dnalm interact evaluate "$run" --data "$set_folder" --part test \
    --out "$run/../evaluation_test.json"
  keep "interaction-$name-original" "$run/run.json"
  keep "interaction-$name-test" "$run/../run_evaluation_test.json"
done; done
dnalm interact compare "$work"/interaction/*/
cd "$here" && "$python" -m dnalm.report.tables docs/records docs/interaction.md
