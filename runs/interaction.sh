#!/usr/bin/env bash
# The interaction runs behind docs/interaction.md: pairs in five splits with three seeds each; on every one of them
# the original model, the two foundation models on the states of a core of one's own, the ladder of baselines; their
# records, the page.
#
#   runs/interaction.sh PAIRS GENES [WORK [SEED ...]]
#
# PAIRS, GENES: CTD's positive pairs and the sequences of their genes.  WORK: default work.  SEED: default 0 1 2.
# The core is WORK/cores/human/vocab4, as runs/binding.sh makes it; CORE=... names another.
# The records that are there were made before isomers of a molecule were one in splits: made again, parts differ.
# Run it again to go on: what WORK has the results of is left alone.  No weights or scores leave WORK.
set -euo pipefail
pairs=$1 genes=$2 work=${3:-work}
shift $(($# < 3 ? $# : 3))
[ $# -gt 0 ] || set -- 0 1 2
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
# One pass over the pairs at ten times the published rate, falling to 0: the published recipe is a constant rate for
# up to 50 passes, hours on two cores.
flags=(--batch-size 256 --lr 1e-3 --min-lr 0 --warmup-share 0.1)
# Half the recipe's width, so that a pass takes minutes.
attention=(--dna-encoder "${CORE:-$work/cores/human/vocab4}" --mol-encoder morgan --width 256 --feed-forward 512 --heads 4)

dnalm() { PYTHONPATH=$here "$python" -m dnalm "$@"; }
keep() { mkdir -p "$here/docs/records/$1"; cp "$2" "$here/docs/records/$1/run.json"; }

for seed in "$@"; do for split in random cold-molecule scaffold cold-gene cold-both; do
  name=$split-$seed
  set_folder=$work/pairs/$name runs=$work/interaction/$name
  [ -f "$set_folder/meta.json" ] || dnalm interact prepare --pairs "$pairs" --genes "$genes" --split "$split" \
    --seed "$seed" --out "$set_folder"
  passes=1
  [ "$split" != random ] || passes=2
  [ -f "$runs/original/results.json" ] || dnalm interact train --data "$set_folder" --out "$runs/original" \
    --overwrite --model original --epochs 1 "${flags[@]}"
  for model in foundation-pooled foundation; do
    [ -f "$runs/$model/results.json" ] || dnalm interact train --data "$set_folder" --out "$runs/$model" \
      --overwrite --model "$model" --epochs "$passes" "${flags[@]}" "${attention[@]}"
  done
  [ -f "$runs/evaluation_test.json" ] || dnalm interact evaluate "$runs"/{original,foundation-pooled,foundation} \
    --data "$set_folder" --part test --ensemble --out "$runs/evaluation_test.json"
  for model in original foundation-pooled foundation; do
    keep "interaction-$name-$model" "$runs/$model/run.json"
  done
  keep "interaction-$name-test" "$runs/run_evaluation_test.json"
done; done
dnalm interact compare "$work"/interaction/*/
cd "$here" && "$python" -m docs.make
