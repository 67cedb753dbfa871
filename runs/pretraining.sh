#!/usr/bin/env bash
# The runs behind docs/results.md: prepares two genomes, pretrains, keeps the records, remakes the page.
#
#   runs/pretraining.sh YEAST CHR2 [WORK] [STOP]
#
# YEAST: S. cerevisiae R64-1-1.  CHR2: hg38 chr2:1-2,333,275.  (`dnalm fetch yeast hg38-chr2-piece` brings both.)
# WORK: where data and models go (default: work).  STOP: make only the stops up to this step (default: all).
# Run it again to go on: a run that was cut short is resumed, a stop that WORK has a record of is left alone.
set -euo pipefail
yeast=$1 chr2=$2 work=${3:-work} stop=${4:-4000}
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}

dnalm() { PYTHONPATH=$here "$python" -m dnalm "$@"; }
keep() { mkdir -p "$here/docs/records/$1"; cp "$2" "$here/docs/records/$1/run.json"; }
saved() { [ -d "$1/last" ] || [ -d "$1/last-before" ]; }
prepared() { [ -f "$1/full/meta.json" ] && [ -f "$1/vocab4/meta.json" ]; }

prepared "$work/yeast" || dnalm prepare "$yeast" --out "$work/yeast" --val-contigs XV,XVI --overwrite
prepared "$work/chr2" || dnalm prepare "$chr2" --out "$work/chr2" --overwrite

# pretrain NAME DATA RECIPE STEP...: train to each step in turn, judge there, and keep the record of each as
# docs/records/NAME-STEP/run.json. 104, 261, 522 and 1,044 steps of 64 windows of 300 tokens are 2, 5, 10 and 20 million tokens.
# These runs had the cosine that was then the default recipe's.
pretrain() {
  local name=$1 data=$2 recipe=$3 out=$work/runs/$1 kept step how
  shift 3
  for step in "$@"; do
    kept=$work/records/$name-$step
    if [ "$step" -le "$stop" ] && [ ! -f "$kept/run.json" ]; then
      how=--overwrite
      if saved "$out/$(basename "$data")"; then how=--resume; fi
      dnalm pretrain --data "$data" --out "$out" --recipe "$recipe" --size 7M --schedule cosine --eval-every 261 \
        --checkpoint-every 87 --final-bases 0 --stop-at "$step" --threads "${THREADS:-0}" "$how"
      mkdir -p "$kept"
      cp "$out/$(basename "$data")/run.json" "$kept/run.json"
      keep "$name-$step" "$kept/run.json"
    fi
  done
}

# whole NAME FLAG...: all 4,000 steps on the yeast genome; DEVICE=cuda: there.
whole() {
  local name=$1 out=$work/runs/$1 how=--overwrite
  shift
  if [ "$stop" -lt 4000 ]; then return; fi
  if saved "$out/vocab4"; then how=--resume; fi
  [ -f "$out/ckpt_vocab4.pt" ] || dnalm pretrain --data "$work/yeast/vocab4" --out "$out" --size 7M --final-bases 200000 \
    --device "${DEVICE:-cpu}" "$@" "$how"
  keep "$name" "$out/vocab4/run.json"
}

pretrain yeast-default-vocab4 "$work/yeast/vocab4" default 261 522 1044
pretrain yeast-published-vocab4 "$work/yeast/vocab4" published 261 1044
pretrain yeast-default-full "$work/yeast/full" default 261
pretrain chr2-default-vocab4 "$work/chr2/vocab4" default 104 261
pretrain chr2-default-full "$work/chr2/full" default 104 261
on=vocab4-${DEVICE:-cpu}
whole "yeast-default-$on" --eval-every 200
whole "yeast-default-$on-1" --eval-every 200 --seed 1
whole "yeast-cosine-$on" --eval-every 200 --schedule cosine
whole "yeast-published-$on" --recipe published

cd "$here" && "$python" -m docs.make
