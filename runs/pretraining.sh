#!/usr/bin/env bash
# The runs behind docs/results.md: prepares two genomes, pretrains, keeps the records, remakes the page.
#
#   runs/pretraining.sh GENOMES [WORK] [STOP]
#
# GENOMES: a folder with yeast_R64-1-1.fa.gz and hg38_chr2_1-2333275.fa.gz (`dnalm fetch yeast hg38-chr2-piece`).
# WORK: where data and models go (default: work).  STOP: stop the long runs after this step (default: the end, 4000).
# Run it again to go on: a run that was stopped is resumed, and what has its record is left alone.
set -euo pipefail
genomes=$1 work=${2:-work} stop=${3:-4000}
here=$(cd "$(dirname "$0")/.." && pwd)
dnalm=${DNALM:-$here/.venv/bin/dnalm}

[ -d "$work/yeast" ] || "$dnalm" prepare "$genomes/yeast_R64-1-1.fa.gz" --out "$work/yeast" --val-contigs XV,XVI
[ -d "$work/chr2" ] || "$dnalm" prepare "$genomes/hg38_chr2_1-2333275.fa.gz" --out "$work/chr2"

# pretrain NAME DATA RECIPE STEP...: train to each step in turn, judge there, and keep the record of each as
# docs/records/NAME-STEP/run.json. 261 steps of 64 windows of 300 tokens are 5.0 million tokens, 1,044 are 20.0.
pretrain() {
  local name=$1 data=$2 recipe=$3 out=$work/runs/$1 record step going
  shift 3
  for step in "$@"; do
    record=$here/docs/records/$name-$step
    if [ "$step" -gt "$stop" ] || [ -f "$record/run.json" ]; then continue; fi
    going=()
    if [ -d "$out/$(basename "$data")/last" ]; then going=(--resume); fi
    "$dnalm" pretrain --data "$data" --out "$out" --recipe "$recipe" --eval-every 261 --checkpoint-every 87 \
      --final-bases 0 --stop-at "$step" ${going[@]+"${going[@]}"}
    mkdir -p "$record"
    cp "$out/$(basename "$data")/run.json" "$record/run.json"
  done
}

pretrain yeast-default-vocab4 "$work/yeast/vocab4" default 261 1044 4000
pretrain yeast-published-vocab4 "$work/yeast/vocab4" published 261 1044
pretrain yeast-default-full "$work/yeast/full" default 261
pretrain chr2-default-vocab4 "$work/chr2/vocab4" default 261
pretrain chr2-default-full "$work/chr2/full" default 261

cd "$here" && "${PYTHON:-$here/.venv/bin/python}" -m dnalm.report.tables docs/records docs/results.md
