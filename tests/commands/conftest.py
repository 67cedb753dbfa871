"""A small binding set, cores to fine-tune and models of them, and a small set of pairs, made once."""

import contextlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from matplotlib.figure import Figure

from dnalm.cli import main
from dnalm.commands.interact_train import Options
from dnalm.commands.runs import RunOptions
from dnalm.data.pairs import PairSet, write_pairs
from dnalm.device import Compute
from dnalm.formats.binding import BindingSet, write_binding
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.pair_shape import EncodersConfig
from dnalm.train.loop import Loop
from dnalm.train.optim import EpochConfig

CORE = ["--n-layer", "1", "--n-head", "2", "--n-embd", "16", "--block-size", "40", "--batch-size", "4"]
CORE += ["--eval-bases", "300", "--final-bases", "600", "--device", "cpu", "--steps", "3", "--warmup", "1"]
SHORT = ["--epochs", "2", "--gap", "100", "--precision", "fp32"]
SITE = np.frombuffer(b"GATAAC", dtype=np.uint8)


@pytest.fixture(autouse=True)
def sketches(monkeypatch):
    """An empty picture in place of each figure, which takes a third of a second; tests/report draws them."""
    file = io.BytesIO()
    Figure(figsize=(0.1, 0.1)).savefig(file, format="png")
    monkeypatch.setattr(Figure, "savefig", lambda _figure, to, **_how: to.write(file.getvalue()))


class Binding(NamedTuple):
    """Files of a set, and the folder of its cores."""

    sequences: Path
    scores: Path
    outputs: Path
    windows: BindingSet

    @property
    def flags(self) -> list[str]:
        """What tells the verbs where the windows are, on one processor in full precision."""
        return ["--sequences", str(self.sequences), "--scores", str(self.scores), "--device", "cpu"]

    def finetune(self, out, *flags, core=None):
        """Train a short time; return the exit code."""
        args = ["--checkpoint-dir", str(core or self.outputs), "--out", str(out), *self.flags, *SHORT]
        return main(["finetune", *args, *map(str, flags)])

    def baseline(self, out, *flags):
        """Train the CNN a short time; return the exit code."""
        return main(["baseline", "--out", str(out), *self.flags, *SHORT, *map(str, flags)])


@pytest.fixture(scope="session")
def binding(toy, tmp_path_factory) -> Binding:
    """240 windows of 40 bases, 60 apart, with a site of 6 in each; full and vocab4 cores of a toy genome."""
    draws = np.random.default_rng(5)
    letters = np.frombuffer(b"ACGT", dtype=np.uint8)[draws.integers(0, 4, (240, 40))]
    scores = np.zeros((240, 40), dtype=np.float32)
    for row, start in enumerate(draws.integers(5, 30, 240)):
        letters[row, start : start + 6] = SITE
        scores[row, start : start + 6] = 6.0
    folder = tmp_path_factory.mktemp("binding") / "my set"
    windows = BindingSet([f"chr1_{100 * i}_{100 * i + 39}" for i in range(240)], letters, scores)
    folder.mkdir()
    made = Binding(folder / "s.txt.gz", folder / "y.txt.gz", folder / "outputs", windows)
    write_binding(made.sequences, made.scores, windows)
    for mode in ("full", "vocab4"):
        assert main(["pretrain", "--data", str(toy[mode].folder), "--out", str(made.outputs), *CORE]) == 0
    return made


@pytest.fixture(scope="session")
def models(binding, tmp_path_factory) -> Path:
    """A folder with both vocabularies, a random core, LoRA, and the baseline."""
    out = tmp_path_factory.mktemp("finetuned") / "my models"
    for flags in (
        ["--config", "full"],
        [],
        ["--random-core"],
        ["--tune", "lora", "--both-strands", "--name", "lora"],
    ):
        assert binding.finetune(out, *flags) == 0
    assert binding.baseline(out) == 0
    return out


@pytest.fixture
def stopping(monkeypatch):
    """A context in which a run is stopped, as by Ctrl-C, after its first epoch."""
    whole = Loop._evaluate

    def evaluate(loop):
        whole(loop)
        if len(loop.evaluations) == 2:
            loop._save()
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def stopping():
        with monkeypatch.context() as patch:
            patch.setattr(Loop, "_evaluate", evaluate)
            yield

    return stopping


SMILES = ["CCO", "CCN", "c1ccccc1", "c1ccccc1N", "CC(=O)O", "CC(=O)N", "CCCCCCO", "CCBr"]


def make_pairs() -> PairSet:
    """Sixteen genes with every molecule; the last one is in no training pair."""
    draws, genes = np.random.default_rng(0), 16
    sequences = ["".join(draws.choice(list("ACGT"), 30)) for _ in range(genes)]
    gene, molecule = np.divmod(np.arange(genes * len(SMILES)), len(SMILES))
    label = (gene % 2 * (molecule % 2)).astype(np.uint8)
    rows = np.arange(len(gene))
    trained = (rows % 4 > 0) & (molecule < len(SMILES) - 1)
    parts = {
        "train": rows[trained],
        "validation": rows[~trained & (gene < 12)],
        "test": rows[~trained & (gene >= 12)],
    }
    meta = {"split": "random", "negatives": "degree-matched", "ratio": 1, "seed": 7, "sources": []}
    ids, kinds = [f"g{row}" for row in range(genes)], ["promoter"] * genes
    scaffolds = [""] * len(SMILES)
    return PairSet(
        ids, sequences, kinds, np.arange(genes), SMILES, scaffolds, gene, molecule, label, parts, meta
    )


def write_set(folder: Path, pairs: PairSet) -> Path:
    """Write pairs as `dnalm interact prepare` does."""
    write_pairs(folder, pairs, pairs.gene_ids, [], {})
    return folder


@pytest.fixture(name="pair_set")
def pair_set_fixture() -> PairSet:
    """Pairs to be changed."""
    return make_pairs()


@pytest.fixture(name="write_set")
def write_set_fixture():
    """The function that writes pairs: write_set(folder, pairs)."""
    return write_set


@pytest.fixture(scope="session")
def pair_folder(tmp_path_factory) -> Path:
    """A folder of prepared pairs."""
    return write_set(tmp_path_factory.mktemp("pairs") / "my pairs", make_pairs())


@pytest.fixture
def foundation(pair_folder, binding, tmp_path) -> Options:
    """A small model of cross-attention on a core, which is frozen."""
    return Options(
        data=pair_folder,
        model="foundation",
        out=tmp_path / "runs" / "mine",
        store=tmp_path / "states",
        encoders=EncodersConfig(str(binding.outputs / "vocab4"), "morgan"),
        attention=CrossAttentionConfig(width=16, heads=2, feed_forward=16),
        train=EpochConfig(epochs=2, batch_size=16, lr=1e-3, warmup_share=0.0),
        run=RunOptions(compute=Compute(device="cpu", precision="fp32"), quiet=True),
    )
