#!/usr/bin/env bash
# Which bases of yeast code on strand +: does pretraining pay, beside CNNs and rules?
#
#   runs/coding.sh YEAST GENES [WORK] [FLAG...]
#
# YEAST: S. cerevisiae R64-1-1.  GENES: its SGD annotation, contigs chrI to chrXVI.  WORK: default work.  FLAGS: of
# finetune.  Contigs XV and XVI are kept out of pretraining; their windows are the labels.
# SEEDS: of the curve of more labels, default 1; that of few has 3.
# Run it again to go on: what WORK has is left alone, and a label curve is resumed.
set -euo pipefail
yeast=$1 genes=$2 work=${3:-work}
shift $(($# < 3 ? $# : 3))
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
coding=$work/coding
set_flags=(--sequences "$coding/sequences.txt.gz" --scores "$coding/scores.txt.gz")

dnalm() { PYTHONPATH=$here "$python" -m dnalm "$@"; }

# 2,800 steps of 32 windows of 300 tokens are 27 million tokens.
[ -f "$work/yeast/vocab4/meta.json" ] || dnalm prepare "$yeast" --out "$work/yeast" --val-contigs XV,XVI --overwrite
[ -f "$work/cores/ckpt_vocab4.pt" ] || dnalm pretrain --data "$work/yeast/vocab4" --out "$work/cores" --size 1M \
  --batch-size 32 --steps "${STEPS:-2800}" --overwrite

mkdir -p "$coding"
for contig in XV:1091291 XVI:948066; do
  for ((at = 0; at + 300 <= ${contig#*:}; at += 300)); do printf '%s\t%d\t%d\n' "${contig%:*}" $at $((at + 300)); done
done > "$coding/windows.bed"
[ -f "$coding/run.json" ] || dnalm label "$yeast" --annotation "$genes" --feature CDS --strand + --rename chr \
  --windows "$coding/windows.bed" --all --out "$coding"

# curve NAME WINDOWS SEEDS FLAGS...: a label curve, with rules beside it, and its record as docs/records/yeast-NAME.
curve() {
  local name=$1 windows=$2 seeds=$3 how=--overwrite
  shift 3
  if [ -d "$coding/label_curve_$name" ]; then how=--resume; fi
  dnalm finetune "${set_flags[@]}" --checkpoint-dir "$work/cores" --both-strands --features mix --name "$name" \
    --batch-size 16 --epochs 15 --patience 5 --channels 32 --kernel 31 --head-dropout 0.5 \
    --label-fractions "$windows" --seeds "$seeds" --out "$coding" "$how" "$@"
  PYTHONPATH=$here "$python" "$here/runs/coding_rules.py" "$coding/label_curve_$name.json" --genome "$yeast" \
    "${set_flags[@]}" --out "$coding/rules_$name"
  mkdir -p "$here/docs/records/yeast-$name"
  cp "$coding/rules_$name/run.json" "$here/docs/records/yeast-$name/run.json"
}

# 247 and 1,234 training windows are 300 and 1,500 labelled ones, with the validation windows.
curve coding_few 247 3 "$@"
curve coding 247,1234 "${SEEDS:-1}" "$@"
cp "$coding/rules_coding/coding.png" "$here/docs/images/coding.png"
