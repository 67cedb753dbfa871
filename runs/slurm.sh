#!/usr/bin/env bash
# Pretraining on several machines of a SLURM cluster: one process a GPU, started by srun.
#
#   sbatch runs/slurm.sh DATA OUT [FLAGS of dnalm pretrain...]
#
# DATA and OUT are on a file system that all machines share. SIGTERM comes two minutes before the time is up: the run
# saves its state, and the job puts itself back in the queue; it then goes on from the state saved last.
#SBATCH --job-name=dnalm
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=dnalm-%j.log
set -euo pipefail
data=$1 out=$2
shift 2
mode=$(basename "$data")
resume=()
# The state on disk, by its description: it is another one after a run that has saved.
state() { cat "$out/$mode"/last/checkpoint.json 2>/dev/null | cksum || true; }
if [ -d "$out/$mode/last" ] || [ -d "$out/$mode/last-before" ]; then resume=(--resume); fi

code=0 before=$(state)
# One process that fails ends the others too; the first goes on alone at the end, to judge the model.
srun --kill-on-bad-exit=1 --wait=0 --cpus-per-task="$SLURM_CPUS_PER_TASK" "${PYTHON:-python}" -m dnalm pretrain --data "$data" --out "$out" --device cuda \
  "${resume[@]}" "$@" || code=$?
# 130, or 143 where a signal came while a process was ending: stopped, or a mistake of which srun told the others. A
# mistake has saved nothing.
if { [ "$code" -eq 130 ] || [ "$code" -eq 143 ]; } && [ "$(state)" != "$before" ]; then
  scontrol requeue "$SLURM_JOB_ID"
  exit 0
fi
exit "$code"
