#!/usr/bin/env bash
# The interaction runs behind docs/interaction.md: pairs in five splits with three seeds each; on every one of them a
# neural model, the combined model that has it as a member, and the ladder of baselines; their records, the figure, the
# page. On the cold-molecule split the neural model is trained without identity too: of content alone.
#
#   runs/interaction.sh PAIRS GENES "GENOME ..." [WORK [SEED ...]]
#
# PAIRS, GENES: CTD's positive pairs and the sequences of their genes.  GENOME: human FASTA files, on which the encoder
# of genes, of 1M parameters, is pretrained.  WORK: default work.  SEED: default 3 4 5; the models were designed on 0 1 2.
# Run it again to go on: what WORK has the results of is left alone.  No weights or scores leave WORK.
# About 12 minutes a split and seed on one thread of an AMD EPYC.
set -euo pipefail
pairs=$1 genes=$2 genomes=$3 work=${4:-work}
shift $(($# < 4 ? $# : 4))
[ $# -gt 0 ] || set -- 3 4 5
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
core=$work/cores/human-1M/vocab4
compute=(--device cpu --precision fp32 --threads 1)
# Half of the recipe's width, a fifth of its epochs and three times its rate: 4 minutes, and on the random split of
# seed 0 no lower than 8 epochs.
neural=(--model foundation-pooled --dna-encoder "$core" --mol-encoder morgan --width 256 --feed-forward 512 --heads 4
  --epochs 5 --batch-size 256 --lr 1e-3 --min-lr 0 --warmup-share 0.1 --weight-decay 0.1
  --device cpu --threads 1 --overwrite)

dnalm() { PYTHONPATH=$here "$python" -m dnalm "$@"; }
keep() { mkdir -p "$here/docs/records/$1"; cp "$2" "$here/docs/records/$1/run.json"; }

if [ ! -d "$core/checkpoint" ]; then
  # shellcheck disable=SC2086  # several files
  dnalm prepare $genomes --out "$work/human" --overwrite
  dnalm pretrain --data "$work/human/vocab4" --out "${core%/*}" --size 1M --steps 200 --eval-every 100 --overwrite
fi
for seed in "$@"; do for split in random cold-molecule scaffold cold-gene cold-both; do
  name=$split-$seed
  set_folder=$work/pairs/$name runs=$work/interaction/$name
  models=(combined neural)
  [ -f "$set_folder/meta.json" ] || dnalm interact prepare --pairs "$pairs" --genes "$genes" --split "$split" \
    --seed "$seed" --out "$set_folder"
  [ -f "$runs/neural/results.json" ] || dnalm interact train --data "$set_folder" --out "$runs/neural" \
    --identity "${neural[@]}"
  if [ "$split" = cold-molecule ]; then
    models+=(content)
    [ -f "$runs/content/results.json" ] || dnalm interact train --data "$set_folder" --out "$runs/content" "${neural[@]}"
  fi
  [ -f "$runs/combined/results.json" ] || dnalm interact train --model combined --data "$set_folder" \
    --members "$runs/neural" --out "$runs/combined" --overwrite "${compute[@]}"
  [ -f "$runs/evaluation_test.json" ] || dnalm interact evaluate "${models[@]/#/$runs/}" --data "$set_folder" \
    --part test --out "$runs/evaluation_test.json" "${compute[@]}"
  for model in "${models[@]}"; do keep "interaction-$name-$model" "$runs/$model/run.json"; done
  keep "interaction-$name-test" "$runs/run_evaluation_test.json"
done; done
dnalm interact compare "$work"/interaction/*/
cd "$here" && "$python" -m docs.make && "$python" -m docs.make.pairs_figure
