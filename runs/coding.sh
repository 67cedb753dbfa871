#!/usr/bin/env bash
# Which bases of yeast code on strand +: does pretraining pay, beside CNNs and rules?
#
#   runs/coding.sh YEAST GENES [WORK] [FLAG...]
#
# YEAST: S. cerevisiae R64-1-1.  GENES: its SGD annotation, contigs chrI to chrXVI.  WORK: default work.  FLAGS: of
# finetune.  Contigs XV and XVI are kept out of pretraining; their windows are the labels.
# WINDOWS: of training; 247 and 1,234 are 300 and 1,500 labelled ones, with the validation windows.
# Run it again to go on: what WORK has is left alone, and a label curve is resumed.
set -euo pipefail
yeast=$1 genes=$2 work=${3:-work}
shift $(($# < 3 ? $# : 3))
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
coding=$work/coding
set_flags=(--sequences "$coding/sequences.txt.gz" --scores "$coding/scores.txt.gz")

dnalm() { PYTHONPATH=$here "$python" -m dnalm "$@"; }

# 2,500 steps of 64 windows of 300 tokens are 48 million tokens.
[ -f "$work/yeast/vocab4/meta.json" ] || dnalm prepare "$yeast" --out "$work/yeast" --val-contigs XV,XVI --overwrite
[ -f "$work/cores/ckpt_vocab4.pt" ] || dnalm pretrain --data "$work/yeast/vocab4" --out "$work/cores" --size 1M \
  --steps "${STEPS:-2500}" --overwrite

mkdir -p "$coding"
for contig in XV:1091291 XVI:948066; do
  for ((at = 0; at + 300 <= ${contig#*:}; at += 300)); do printf '%s\t%d\t%d\n' "${contig%:*}" $at $((at + 300)); done
done > "$coding/windows.bed"
[ -f "$coding/run.json" ] || dnalm label "$yeast" --annotation "$genes" --feature CDS --strand + --rename chr \
  --windows "$coding/windows.bed" --all --out "$coding"

how=--overwrite
if [ -d "$coding/label_curve_coding" ]; then how=--resume; fi
dnalm finetune "${set_flags[@]}" --checkpoint-dir "$work/cores" --both-strands --features mix --name coding \
  --label-fractions "${WINDOWS:-247,1234}" --seeds 3 --out "$coding" "$how" "$@"
PYTHONPATH=$here "$python" "$here/runs/coding_rules.py" "$coding/label_curve_coding.json" --genome "$yeast" \
  "${set_flags[@]}" --out "$coding/rules"
mkdir -p "$here/docs/records/yeast-coding"
cp "$coding/rules/run.json" "$here/docs/records/yeast-coding/run.json"
cp "$coding/rules/coding.png" "$here/docs/images/coding.png"
