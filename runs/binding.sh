#!/usr/bin/env bash
# The binding runs behind docs/results.md: cores of human pieces, models of the published set, records, the page.
#
#   runs/binding.sh CHR2 CHR22 SEQUENCES SCORES MOTIF [WORK]
#
# CHR2: hg38 chr2:1-2,333,275.  CHR22: hg19 chr22:1-22,000,000, which holds about a tenth of the windows' sequence.
# SEQUENCES, SCORES: the published set (`dnalm fetch binding-chr22`).  MOTIF: its FOXA1 matrix.  WORK: default work.
# Run it again to go on: a run that WORK has a record of is left alone.
set -euo pipefail
chr2=$1 chr22=$2 sequences=$3 scores=$4 motif=$5 work=${6:-work}
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
set_flags=(--sequences "$sequences" --scores "$scores")

dnalm() { PYTHONPATH=$here "$python" -m dnalm "$@"; }
keep() { mkdir -p "$here/docs/records/$1"; cp "$2" "$here/docs/records/$1/run.json"; }

# core NAME MODES GENOME...: 261 steps (5 million tokens) of 4,000, with the cosine that was then the default recipe's.
core() {
  local name=$1 modes=$2
  shift 2
  [ -f "$work/$name/vocab4/meta.json" ] || dnalm prepare "$@" --out "$work/$name" --overwrite
  for mode in $modes; do
    [ -f "$work/cores/$name/ckpt_$mode.pt" ] || dnalm pretrain --data "$work/$name/$mode" --out "$work/cores/$name" \
      --size 7M --schedule cosine --eval-every 261 --checkpoint-every 87 --stop-at 261 --overwrite
  done
}

# tuned SPLIT NAME VERB FLAGS...: one model, and its record as docs/records/binding-SPLIT-NAME.
tuned() {
  local split=$1 name=$2 verb=$3
  shift 3
  [ -f "$work/models/$split/results_$name.json" ] || dnalm "$verb" "${set_flags[@]}" --split "$split" \
    --out "$work/models/$split" --name "$name" --max-shift 0 --overwrite "$@"
  keep "binding-$split-$name" "$work/models/$split/$name/run.json"
}

core chr2 vocab4 "$chr2"
core human "vocab4 full" "$chr2" "$chr22"
human=(--checkpoint-dir "$work/cores/human" --features last)
tuned published baseline baseline
tuned published baseline_11 baseline --epochs 11
tuned published vocab4 finetune --config vocab4 "${human[@]}" --epochs 8
tuned published full finetune --config full "${human[@]}" --epochs 6
tuned blocks baseline baseline
tuned blocks vocab4 finetune --config vocab4 "${human[@]}" --epochs 6
tuned blocks full finetune --config full "${human[@]}" --epochs 6
tuned blocks vocab4_random finetune --config vocab4 "${human[@]}" --random-core --epochs 6
tuned blocks vocab4_both finetune --config vocab4 "${human[@]}" --both-strands --epochs 6
tuned blocks vocab4_chr2 finetune --config vocab4 --checkpoint-dir "$work/cores/chr2" --features last --epochs 6
tuned blocks vocab4_full_both finetune --config vocab4 "${human[@]}" --both-strands --tune full --no-whiten --lr 7e-4 \
  --batch-size 32 --epochs 1
tuned blocks vocab4_full_both_2 finetune --config vocab4 --init-from "$work/models/blocks/vocab4_full_both" --both-strands \
  --tune full --lr 5e-4 --batch-size 32 --epochs 1

models=("$work"/models/blocks/*/checkpoint)
dnalm evaluate "${models[@]%/checkpoint}" "${set_flags[@]}" --part test --motif "$motif" \
  --out "$work/models/blocks/evaluation_test.json" --overwrite
keep binding-blocks-test "$work/models/blocks/run_evaluation_test.json"
dnalm compare "$work/models/blocks"
PYTHONPATH=$here "$python" "$here/runs/readout.py" "$work"/models/blocks/{vocab4,vocab4_random,full} \
  --sequences "$sequences" --out "$work/readout"
keep binding-readout "$work/readout/run.json"
cd "$here" && "$python" -m docs.make
