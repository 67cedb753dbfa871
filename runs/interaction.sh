#!/usr/bin/env bash
# The interaction runs behind docs/interaction.md: pairs in five splits with three seeds each; on every one of them
# the combined model beside the ladder of baselines; their records, the figure, the page.
#
#   runs/interaction.sh PAIRS GENES [WORK [SEED ...]]
#
# PAIRS, GENES: CTD's positive pairs and the sequences of their genes.  WORK: default work.  SEED: default 0 1 2.
# Run it again to go on: what WORK has the results of is left alone.  No weights or scores leave WORK.
# About 5 minutes a split and seed on one thread of an AMD EPYC.
set -euo pipefail
pairs=$1 genes=$2 work=${3:-work}
shift $(($# < 3 ? $# : 3))
[ $# -gt 0 ] || set -- 0 1 2
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
compute=(--device cpu --precision fp32)

dnalm() { PYTHONPATH=$here "$python" -m dnalm "$@"; }
keep() { mkdir -p "$here/docs/records/$1"; cp "$2" "$here/docs/records/$1/run.json"; }

for seed in "$@"; do for split in random cold-molecule scaffold cold-gene cold-both; do
  name=$split-$seed
  set_folder=$work/pairs/$name runs=$work/interaction/$name
  [ -f "$set_folder/meta.json" ] || dnalm interact prepare --pairs "$pairs" --genes "$genes" --split "$split" \
    --seed "$seed" --out "$set_folder"
  [ -f "$runs/combined/results.json" ] || dnalm interact train --model combined --data "$set_folder" \
    --out "$runs/combined" --overwrite "${compute[@]}"
  [ -f "$runs/evaluation_test.json" ] || dnalm interact evaluate "$runs/combined" --data "$set_folder" --part test \
    --out "$runs/evaluation_test.json" "${compute[@]}"
  keep "interaction-$name-combined" "$runs/combined/run.json"
  keep "interaction-$name-test" "$runs/run_evaluation_test.json"
done; done
dnalm interact compare "$work"/interaction/*/
cd "$here" && "$python" -m docs.make && "$python" -m docs.make.pairs_figure
