#!/usr/bin/env bash
# The published models of genes and molecules behind docs/interaction.md, each to its end: until its patience is over.
# On the random and the cold-molecule split of seed 0, by their recipes, with the encoders at hand.
#
#   runs/interaction_published.sh PAIRS GENES CORE [WORK [MODEL ...]]
#
# PAIRS, GENES: as in interaction.sh.  CORE: a pretrained model that reads the genes of the foundation models, as
# interaction.sh makes it.  WORK: default work.  MODEL: default foundation-pooled original foundation.
# Run it again to go on: an unfinished training is resumed.  An epoch takes 2 minutes of one thread of an AMD EPYC for
# foundation-pooled, 14 for original, 28 for foundation.
set -euo pipefail
pairs=$1 genes=$2 core=$3 work=${4:-work}
shift $(($# < 4 ? $# : 4))
[ $# -gt 0 ] || set -- foundation-pooled original foundation
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
compute=(--device cpu --threads 1)

dnalm() { PYTHONPATH=$here "$python" -m dnalm "$@"; }
keep() { mkdir -p "$here/docs/records/$1"; cp "$2" "$here/docs/records/$1/run.json"; }

for model in "$@"; do for split in random cold-molecule; do
  set_folder=$work/pairs/$split-0 run=$work/published/$split-0/$model
  flags=(--model "$model")
  [ "$model" = original ] || flags+=(--dna-encoder "$core" --mol-encoder morgan)
  [ -f "$set_folder/meta.json" ] || dnalm interact prepare --pairs "$pairs" --genes "$genes" --split "$split" \
    --seed 0 --out "$set_folder"
  again=--overwrite
  [ ! -d "$run/last" ] || again=--resume
  [ -f "$run/results.json" ] || dnalm interact train --data "$set_folder" --out "$run" "${flags[@]}" "${compute[@]}" $again
  [ -f "$run/evaluation_test.json" ] || dnalm interact evaluate "$run" --data "$set_folder" --part test \
    --out "$run/evaluation_test.json" "${compute[@]}"
  keep "published-$split-0-$model" "$run/run.json"
  keep "published-$split-0-$model-test" "$run/run_evaluation_test.json"
done; done
cd "$here" && "$python" -m docs.make
