#!/usr/bin/env bash
# The runs behind docs/results.md: prepares two genomes, pretrains, keeps the records, remakes the page.
#
#   runs/pretraining.sh GENOMES [WORK] [STOP]
#
# GENOMES: a folder with yeast_R64-1-1.fa.gz and hg38_chr2_1-2333275.fa.gz (`dnalm fetch yeast hg38-chr2-piece`).
# WORK: where data and models go (default: work).  STOP: stop the long runs after this step (default: the end, 4000).
# Run it again to go on: a run that was stopped is resumed; one that has reached STOP is only scored again.
set -euo pipefail
genomes=$1 work=${2:-work} stop=${3:-4000}
here=$(cd "$(dirname "$0")/.." && pwd)
dnalm=${DNALM:-$here/.venv/bin/dnalm}

[ -d "$work/yeast" ] || "$dnalm" prepare "$genomes/yeast_R64-1-1.fa.gz" --out "$work/yeast" --val-contigs XV,XVI
[ -d "$work/chr2" ] || "$dnalm" prepare "$genomes/hg38_chr2_1-2333275.fa.gz" --out "$work/chr2"

# pretrain NAME DATA RECIPE STOP: train or go on, then keep the record as docs/records/NAME/run.json.
# 261 steps of 64 windows of 300 tokens are 5.0 million tokens, 1,044 are 20.0 million.
pretrain() {
  local out=$work/runs/$1 mode going=()
  mode=$(basename "$2")
  [ -d "$out/$mode/last" ] && going=(--resume)
  "$dnalm" pretrain --data "$2" --out "$out" --recipe "$3" --eval-every 261 --checkpoint-every 87 \
    --final-bases 0 --stop-at "$4" ${going[@]+"${going[@]}"}
  mkdir -p "$here/docs/records/$1"
  cp "$out/$mode/run.json" "$here/docs/records/$1/run.json"
}

pretrain yeast-default-vocab4 "$work/yeast/vocab4" default "$stop"
pretrain yeast-published-vocab4 "$work/yeast/vocab4" published "$(( stop < 1044 ? stop : 1044 ))"
pretrain yeast-default-full "$work/yeast/full" default "$(( stop < 261 ? stop : 261 ))"
pretrain chr2-default-vocab4 "$work/chr2/vocab4" default "$(( stop < 261 ? stop : 261 ))"
pretrain chr2-default-full "$work/chr2/full" default "$(( stop < 261 ? stop : 261 ))"

cd "$here" && "${PYTHON:-$here/.venv/bin/python}" -m dnalm.report.tables docs/records docs/results.md
