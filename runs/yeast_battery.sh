#!/usr/bin/env bash
# The yeast battery: where is a language model of a genome worth having?
#
#   runs/yeast_battery.sh DATA [WORK] [--quick]
#
# DATA: genomes/yeast_R64-1-1.fa.gz, and yeast/ with genomes of eight relatives, SGD's annotation, TSS and polyA tracks,
# peaks, expression and promoter variants.  WORK: where data and models go, default work.  --quick: minutes instead of a
# day, with figures that mean nothing; records go to WORK/records instead of docs/records.
# PART=cores, scores, variants, coding, tasks or expression: that part alone.  THREADS: of each command.  CORE=causal,
# masked or nine: the core of the label curves, default causal.
# Contigs XV and XVI are kept out of pretraining and are the test part. Run it again to go on: what WORK has is left
# alone, and trainings are resumed.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$here/.venv/bin/python}
quick= words=()
for word in "$@"; do if [ "$word" = --quick ]; then quick=1; else words+=("$word"); fi; done
data=${words[0]:?"the folder of the data is missing: runs/yeast_battery.sh DATA [WORK] [--quick]"} work=${words[1]:-work}
yeast=$data/yeast genome=$data/genomes/yeast_R64-1-1.fa.gz
genes=$yeast/sgd_R64.gff3.gz variants=$yeast/promoter_snvs.vcf.gz
relatives=(cerevisiae_SK1 cerevisiae_UWOPS034614 paradoxus_CBS432 paradoxus_N44 paradoxus_YPS138 paradoxus_UFRJ50816
  paradoxus_UWOPS919171 arboricola_H6)
names=R64 genomes=("$genome") best=${CORE:-causal}
for name in "${relatives[@]}"; do names+=,${name#*_} genomes+=("$yeast/genomes/$name.fa.gz"); done

# What is missing is named before anything begins.
missing=()
for file in "${genomes[@]}" "$genes" "$variants" "$yeast"/{genes.tsv.gz,tss_plus.bw,polya_plus.bw,chipexo/{reb1,abf1}.bed}; do
  [ -f "$file" ] || missing+=("$file")
done
for package in pybigtools sklearn; do
  "$python" -c "import $package" 2> /dev/null || missing+=("the Python package $package: pip install \"dnalm[all]\"")
done
if [ "${#missing[@]}" -gt 0 ]; then
  printf '%s\n' "the yeast battery needs what is not there:" "${missing[@]}" >&2
  exit 2
fi

# 3,200 steps of 32 windows of 300 tokens are 31 million tokens.
size=(--size 1M --batch-size 32 --steps 3200 --eval-every 400 --checkpoint-every 100)
scored=(--bases 300000 --codons 2000 --precision auto) paired=0
head=(--batch-size 16 --patience 5 --channels 32 --kernel 31 --head-dropout 0.5 --max-shift 0)
epochs=15 epochs_many=5 few=247,1234 all=1 seeds=3 every=1 every_tss=2 every_gene=1 test=XV,XVI records=$here/docs/records
labelled=(1:XIII 4:XI,XII,XIII,XIV 14:I,II,III,IV,V,VI,VII,VIII,IX,X,XI,XII,XIII,XIV)  # chromosomes
if [ -n "$quick" ]; then
  size=(--n-layer 1 --n-head 2 --n-embd 16 --batch-size 4 --steps 8 --warmup 1 --eval-bases 2000 --final-bases 4000)
  scored=(--bases 4000 --codons 10) paired=20000 head=(--batch-size 16 --channels 2 --kernel 3 --max-shift 0)
  epochs=1 epochs_many=1 few=20 all=1 seeds=1 every=40 every_tss=4 every_gene=100 test=I records=$work/records labelled=(1:VI)
fi

export PYTHONPATH=$here
dnalm() { "$python" -m dnalm "$@"; }
compute() { dnalm "$@" --threads "${THREADS:-0}"; }
script() { "$python" "$here/runs/$1" "${@:2}"; }
finished() { [ -f "$1" ] && grep -q '"status": "done"' "$1"; }
part() { [ -z "${PART:-}" ] || [ "$PART" = "$1" ]; }
# keep NAME FILE: a record as yeast-battery-NAME, without the paths of this machine.
keep() {
  mkdir -p "$records/yeast-battery-$1"
  sed -e "s#$data/#data/#g" -e "s#$work/#work/#g" -e "s#$here/##g" "$2" > "$records/yeast-battery-$1/run.json"
}

# Cores: causal and masked on R64; masked on nine genomes, without what is alike to XV and XVI. As many tokens each.
pretrain() { # NAME DATA OBJECTIVE
  local how=--overwrite
  if [ -d "$work/cores/$1/vocab4/last" ]; then how=--resume; fi
  [ -f "$work/cores/$1/summary_vocab4.json" ] ||
    compute pretrain --data "$2" --out "$work/cores/$1" --objective "$3" "${size[@]}" "$how"
  keep "core-$1" "$work/cores/$1/vocab4/run.json"
}
prepare() { # NAME FLAG...
  [ -f "$work/$1/vocab4/meta.json" ] ||
    dnalm prepare --out "$work/$1" --vocab vocab4 --overwrite "${@:2}"
}
if part cores; then
  prepare r64 "$genome" --val-contigs XV,XVI
  prepare nine "${genomes[@]}" --genome-names "$names" --val-contigs R64:XV,R64:XVI
  pretrain causal "$work/r64/vocab4" causal
  pretrain masked "$work/r64/vocab4" masked
  pretrain nine "$work/nine/vocab4" masked
  if ! finished "$work/paired/run.json"; then
    script paired_bits.py "$work"/cores/{causal,masked,nine}/vocab4 --data "$work/r64/vocab4" --bases "$paired" \
      --out "$work/paired"
    keep paired "$work/paired/run.json"
  fi
fi

# Bits per base by kind of feature, and substitutions of codons; promoter variants.
mkdir -p "$work/use"
for core in causal masked nine; do
  if part scores && ! finished "$work/use/run_$core.tsv.json"; then
    compute score "$work/cores/$core/vocab4" --genome "$genome" --annotation "$genes" --rename chr "${scored[@]}" \
      --out "$work/use/$core.tsv" --overwrite
    keep "score-$core" "$work/use/run_$core.tsv.json"
  fi
  if part variants && ! finished "$work/use/run_$core.vcf.gz.json"; then
    vcf=$variants
    if [ -n "$quick" ]; then
      vcf=$work/few.vcf
      gzip -dc "$variants" | awk '/^#/ || ++n % 200 == 0' > "$vcf"
    fi
    compute variants "$work/cores/$core/vocab4" --genome "$genome" --vcf "$vcf" --allele-frequency AF --window 160 \
      --out "$work/use/$core.vcf.gz" --overwrite
    keep "variants-$core" "$work/use/run_$core.vcf.gz.json"
  fi
done

# curve NAME CORE FOLDER FLAG...: a label curve of the windows in FOLDER.
curve() {
  local out=$work/curves how=--overwrite
  if [ -d "$out/label_curve_$1" ]; then how=--resume; fi
  compute finetune --checkpoint-dir "$work/cores/$2" --sequences "$3/sequences.txt.gz" --scores "$3/scores.txt.gz" \
    --name "$1" --out "$out" --both-strands --features mix "${head[@]}" "$how" "${@:4}"
}
# label NAME CONTIGS WINDOWS-FLAGS FLAG...: windows of some contigs with scores, in WORK/labels/NAME.
label() {
  local out=$work/labels/$1
  if finished "$out/run.json"; then return; fi
  mkdir -p "$out"
  # shellcheck disable=SC2086  # words of flags
  script yeast_windows.py "$genome" --contigs "$2" $3 > "$out/windows.bed"
  dnalm label "$genome" --windows "$out/windows.bed" --out "$out" --overwrite "${@:4}"
}

# Coding bases of one strand, beside rules that know what a gene is; labels, training and test are of XV and XVI. The core
# CORE has every number of labels and every model beside it; the others have the fewest labels and an untrained twin.
rules() { # NAME CURVE...
  local out=$work/curves/rules_$1 curves=() name
  for name in "${@:2}"; do curves+=("$work/curves/label_curve_$name.json"); done
  script coding_rules.py "${curves[@]}" --genome "$genome" --out "$out" \
    --sequences "$work/labels/coding/sequences.txt.gz" --scores "$work/labels/coding/scores.txt.gz"
  keep "$1" "$out/run.json"
}
if part coding; then
  label coding XV,XVI "--every $every" --annotation "$genes" --feature CDS --strand + --rename chr --all
  for core in causal masked nine; do
    how=(--label-fractions "${few%%,*}" --compare-with untrained)
    if [ "$core" = "$best" ]; then how=(--label-fractions "$few"); fi
    curve "coding-$core" "$core" "$work/labels/coding" --seeds "$seeds" --epochs "$epochs" "${how[@]}"
    rules "coding-$core" "coding-$core"
  done
  curve coding-all "$best" "$work/labels/coding" --seeds "$seeds" --label-fractions "$all" --epochs "$epochs_many"
  rules coding "coding-$best" coding-all
  if [ -z "$quick" ]; then cp "$work/curves/rules_coding/coding.png" "$here/docs/images/coding.png"; fi
fi

# Measured tracks and sites, labels of 1, 4 and 14 chromosomes; all windows of XV and XVI are the test part.
if part tasks; then
  for chromosomes in "${labelled[@]}"; do
    number=${chromosomes%%:*} contigs=${chromosomes#*:},$test
    for task in tss polya reb1 abf1; do
      case $task in
        tss | polya) label "$task-$number" "$contigs" "--every $every_tss" --track "$yeast/${task}_plus.bw" --transform log1p ;;
        *) label "$task-$number" "$contigs" "--peaks $yeast/chipexo/$task.bed" --peaks "$yeast/chipexo/$task.bed" --all ;;
      esac
      times=$epochs
      if [ "$number" = 14 ]; then times=$epochs_many; fi
      curve "$task-$number" "$best" "$work/labels/$task-$number" --label-fractions 1 --seeds 1 \
        --epochs "$times" --test-contigs "$test"
      keep "$task-$number" "$work/curves/run_label_curve_$task-$number.json"
    done
  done
fi

# Expression of genes from frozen states of the 1,000 bases before them.
if part expression && ! finished "$work/expression/run.json"; then
  script expression.py "$work"/cores/{causal,masked,nine}/vocab4 --genome "$genome" --annotation "$genes" \
    --genes "$yeast/genes.tsv.gz" --every "$every_gene" --out "$work/expression"
  keep expression "$work/expression/run.json"
fi
