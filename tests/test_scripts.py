"""Tests for what lies under runs/: scripts for a shell, SLURM and Kubernetes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dnalm.evaluate.language import LanguageScores
from runs import paired_bits

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "runs").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_shell_can_read_it(script):
    found = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    assert os.access(script, os.X_OK)


def test_torchrun_and_dnalm_know_what_the_kubernetes_job_says():
    yaml = pytest.importorskip("yaml")
    from torch.distributed.run import get_args_parser

    from dnalm.commands.pretrain import Options

    service, job = yaml.safe_load_all((ROOT / "runs" / "kubernetes.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    (container,) = pod["containers"]
    script = container["args"][0]
    assert subprocess.run(["bash", "-n", "-c", script]).returncode == 0
    command = script.split("exec torchrun ")[1].replace("\\\n", " ").replace("$JOB_COMPLETION_INDEX", "1")
    words = shlex.split(command)
    given = get_args_parser().parse_args([word for word in words if not word.startswith("$resume")])
    assert given.nnodes == str(job["spec"]["completions"])
    assert int(given.nproc_per_node) == container["resources"]["limits"]["nvidia.com/gpu"]
    assert given.master_addr == f"{job['metadata']['name']}-0.{pod['subdomain']}"
    assert given.shutdown_timeout < pod["terminationGracePeriodSeconds"]
    assert (given.module, given.training_script) == (True, "dnalm")
    verb, *flags = given.training_script_args
    assert verb == "pretrain"
    assert {flag for flag in flags if flag.startswith("--")} <= {"--data", "--out", "--device"}
    assert {"data", "out", "run"} <= set(Options.__dataclass_fields__)


def test_slurm_starts_a_process_a_gpu_that_is_told_its_cores():
    script = (ROOT / "runs" / "slurm.sh").read_text()
    asked = dict(re.findall(r"^#SBATCH --(\S+?)=(.*)$", script, re.MULTILINE))
    assert asked["ntasks-per-node"] == asked["gpus-per-node"]
    assert '--cpus-per-task="$SLURM_CPUS_PER_TASK"' in script  # srun does not take it over from sbatch
    assert asked["signal"].startswith("TERM@")


@pytest.fixture
def slurm(tmp_path):
    """A function that runs slurm.sh with an srun that ends with a code: that of the script, and the calls."""
    calls, out = tmp_path / "calls", tmp_path / "out"
    save = 'if [ -n "$STEP" ]; then mkdir -p "$OUT/last"; echo "$STEP" > "$OUT/last/checkpoint.json"; fi'
    for name, end in (("srun", f"{save}; exit $CODE"), ("scontrol", "exit 0")):
        path = tmp_path / name
        path.write_text(f'#!/usr/bin/env bash\necho "{name} $*" >> "{calls}"\n{end}\n')
        path.chmod(0o755)

    def run(code, saves=""):
        calls.unlink(missing_ok=True)
        env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CODE": str(code), "STEP": saves}
        env |= {
            "SLURM_JOB_ID": "7",
            "SLURM_CPUS_PER_TASK": "8",
            "PYTHON": "python",
            "OUT": str(out / "vocab4"),
        }
        script = [shutil.which("bash"), str(ROOT / "runs" / "slurm.sh")]
        ended = subprocess.run([*script, "data/vocab4", str(out), "--steps", "9"], env=env)
        return ended.returncode, calls.read_text().splitlines()

    return run


def test_a_job_that_slurm_stops_goes_on_later(slurm, tmp_path):
    code, (first, *others) = slurm(130, saves="7")
    assert (code, others) == (0, ["scontrol requeue 7"])
    flags = f"--data data/vocab4 --out {tmp_path}/out --device cuda --steps 9"
    assert first.endswith(f"-m dnalm pretrain {flags}")
    code, (_, *others) = slurm(143, saves="9")  # a process was hit by a signal as it ended
    assert (code, others) == (0, ["scontrol requeue 7"])
    code, (first, *others) = slurm(0, saves="20")
    assert (code, others) == (0, [])
    assert first.endswith("--device cuda --resume --steps 9")


def test_a_mistake_is_not_tried_again(slurm):
    for saved in (False, True):
        for wanted in (2, 130, 143):  # srun tells of the processes that it ended, not of the first
            code, calls = slurm(wanted)
            assert (code, len(calls)) == (wanted, 1)
        assert saved or slurm(0, saves="7")[0] == 0
    assert len(slurm(2, saves="8")[1]) == 1  # as where a loss becomes no number


def battery(*words, **env):
    """Run the yeast battery with this Python."""
    script = [shutil.which("bash"), str(ROOT / "runs" / "yeast_battery.sh"), *map(str, words)]
    env = os.environ | {"PYTHON": sys.executable, "THREADS": "1"} | env
    return subprocess.run(script, env=env, capture_output=True, text=True)


def test_the_yeast_battery_names_what_is_missing_before_it_begins(tmp_path):
    ended = battery(tmp_path / "data", tmp_path / "work")
    assert ended.returncode == 2
    for name in ("yeast_R64-1-1.fa.gz", "arboricola_H6.fa.gz", "chipexo/reb1.bed", "promoter_snvs.vcf.gz"):
        assert name in ended.stderr
    assert "the folder of the data is missing" in battery().stderr
    assert not list(tmp_path.iterdir())


def test_bits_of_two_cores_are_compared_piece_by_piece(tmp_path, monkeypatch, capsys):
    bases, more = np.full(20, 50), np.linspace(0, 40, 20)  # pieces differ more than the cores do
    bits = {"one": 80 + more, "two": 85 + more}
    genome = SimpleNamespace(mode="vocab4", digest="d", meta={"split": {}})
    monkeypatch.setattr(paired_bits, "PreparedGenome", lambda _folder: genome)
    monkeypatch.setattr(
        paired_bits, "fixed_bits", lambda core, *_: LanguageScores(0.0, bits[core.parent.name], bases)
    )
    words = ["one/vocab4", "two/vocab4", "--data", "data", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["paired_bits.py", *words])
    paired_bits.main()
    found = json.loads((tmp_path / "run.json").read_text())["metrics"]
    gap, own = found["minus"]["one - two"], found["bits"]["one"]
    assert found["bases"] == 1000
    assert own["value"] == pytest.approx((1600 + more.sum()) / 1000)
    assert own["high"] - own["low"] > 0.1
    assert [gap[key] for key in ("value", "low", "high")] == pytest.approx([-0.1] * 3)
    assert "one - two" in capsys.readouterr().out


@pytest.mark.slow
def test_the_yeast_battery_quickly_and_again(shared_data, tmp_path):
    ended = battery(shared_data, tmp_path, "--quick")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    made = {path.parent.name: path for path in tmp_path.glob("records/*/run.json")}
    cores, tasks = ("causal", "masked", "nine"), ("tss", "polya", "reb1", "abf1")
    wanted = {f"{kind}-{core}" for kind in ("core", "score", "variants", "coding") for core in cores}
    wanted |= {f"{task}-1" for task in tasks} | {"coding", "expression", "paired"}
    assert set(made) == {f"yeast-battery-{name}" for name in wanted}
    for path in made.values():
        assert '"status": "done"' in path.read_text()
        assert str(shared_data) not in path.read_text()
        assert str(tmp_path) not in path.read_text()
    (tmp_path / "expression/run.json").write_text('{"status": "failed"}')
    again = battery(shared_data, tmp_path, "--quick", PART="expression")
    assert again.returncode == 0, again.stderr
    assert "k-mers" in again.stdout
    assert battery(shared_data, tmp_path, "--quick", PART="cores").stdout == ""


@pytest.mark.slow
def test_the_script_that_shows_that_stopped_runs_end_the_same(tmp_path):
    env = os.environ | {"PYTHON": sys.executable}
    script = [str(ROOT / "runs" / "resume_check.sh"), "", "200", "4", str(tmp_path)]
    ended = subprocess.run(script, env=env, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-1] == "same"
    assert ended.stdout.count("exit code 130") >= 1
    assert ended.stdout.count("exit code 137") >= 1
