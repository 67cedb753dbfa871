"""Tests for dnalm/commands/info.py; those of genomic files are in tests/formats/test_sniff.py."""

import pickle
import shlex
import shutil

import pytest
import torch

from dnalm import checkpoint
from dnalm.cli import VERBS
from dnalm.commands import prepare
from dnalm.commands.info import Options, identify, run
from dnalm.errors import InputError
from dnalm.files import write_json

FASTA = ">chrA first\nACGTNNacgt\nAC\n>chrB\nGGGG\n"
BGZIP_EXTRA = bytes.fromhex("1f8b08040000000000ff0600424302001b00")


def record(status="done"):
    return {
        "format": "dnalm-run",
        "format_version": 1,
        "verb": "pretrain",
        "status": status,
        "command": ["dnalm", "pretrain", "--data", "my data/vocab4", "--overwrite"],
        "recipe": {},
        "seed": 0,
        "data": {"name": "genome.fa"},
        "hardware": {"device": "cpu"},
        "timings": {"elapsed_s": 12.5},
        "metrics": {"step": 4000, "bits_per_base": {"value": 1.9387}, "verdict": "It learned something."},
    }


def description():
    encoder = {"name": "gpt", "n_layer": 1, "n_embd": 8}
    return {"kind": "language", "encoder": encoder, "vocab_size": 4, "characters": "ACGT", "step": 50}


@pytest.fixture
def data(tmp_path):
    """A prepared genome of 5 kb, both vocabularies."""
    genome = tmp_path / "genome.fa"
    genome.write_text(">chrA\n" + "ACGTTGCAac" * 200 + "\n>chrB\n" + "N" * 300 + "GATTACA" * 400 + "\n")
    prepare.run(prepare.Options(genome=(genome,), out=tmp_path / "my data", quiet=True))
    return tmp_path / "my data"


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


class TestFolders:
    def test_a_prepared_genome(self, data):
        found = identify(data / "vocab4")
        assert found.kind == "prepared-genome"
        assert found.facts["mode"] == "vocab4"
        assert found.facts["vocabulary"] == "4 characters: 'ACGT'"
        assert found.facts["bases"] == 4_800  # 2,000 of chrA and 2,800 of chrB
        assert found.facts["train_bases"] + found.facts["validation_bases"] == 4_800
        assert found.facts["soft_masked_bases"] == 400
        assert found.facts["left_out_n"] == 300
        assert found.facts["first_contigs"] == ["chrA", "chrB"]
        assert found.facts["split"] == "the last 10% of the bases for validation"
        assert shlex.split(found.next[0])[:4] == ["dnalm", "pretrain", "--data", str(data / "vocab4")]
        assert identify(data / "vocab4" / "meta.json") == found

    def test_the_folder_that_holds_two_of_them(self, data, tmp_path):
        found = identify(data)
        assert (found.kind, found.facts["vocab4"]) == ("prepared-genomes", "4 characters: 'ACGT'")
        assert [shlex.split(command)[3] for command in found.next] == [
            str(data / "full"),
            str(data / "vocab4"),
        ]
        assert "not_the_same_bases" not in found.facts
        other = write(tmp_path / "other.fa", ">c\n" + "ACGT" * 1_000 + "\n")
        prepare.run(prepare.Options(genome=(other,), out=tmp_path / "b", vocab="full", quiet=True))
        shutil.rmtree(data / "full")
        shutil.move(tmp_path / "b/full", data / "full")
        full, vocab4 = identify(data).facts["not_the_same_bases"]
        assert "other.fa" in full
        assert "genome.fa" in vocab4

    def test_the_split_is_said_as_it_is(self, tmp_path):
        genome = write(tmp_path / "g.fa", ">c\n" + "ACGT" * 20_000 + "\n")
        for published, what in ((False, "bases"), (True, "tokens (the published split)")):
            prepare.run(prepare.Options((genome,), tmp_path / what, val_fraction=0.0049, published=published))
            split = identify(tmp_path / what).facts["split"]
            assert split == f"the last 0.49% of the {what} for validation"

    def test_a_checkpoint_and_its_parameters_without_reading_them(self, tmp_path):
        folder = tmp_path / "checkpoint"
        checkpoint.save(folder, {"a": torch.zeros(4, 8), "b": torch.zeros(8)}, description())
        found = identify(folder)
        assert (found.kind, found.title) == ("checkpoint", "language model")
        assert (found.facts["parameters"], found.facts["characters"], found.facts["step"]) == (
            40,
            "'ACGT'",
            50,
        )
        assert found.facts["encoder"]["n_embd"] == 8
        assert identify(folder / "checkpoint.json") == found
        weights = identify(folder / "model.safetensors")
        assert (weights.kind, weights.facts["parameters"]) == ("safetensors", 40)
        (folder / "model.safetensors").unlink()
        with pytest.raises(InputError, match=r"model.safetensors: missing"):
            identify(folder)
        checkpoint.save(tmp_path / "last", {"a": torch.zeros(2)}, {"step": 7, "evaluations": []})
        assert identify(tmp_path / "last").kind == "training-state"

    def test_the_folder_of_a_run_and_its_record(self, tmp_path):
        folder = tmp_path / "vocab4"
        checkpoint.save(folder / "checkpoint", {"a": torch.zeros(4, 8)}, description())
        write_json(folder / "run.json", record("interrupted"))
        found = identify(folder)
        assert (found.kind, found.facts["status"]) == ("run-folder", "interrupted")
        assert (found.facts["bits_per_base"], found.facts["parameters"]) == (1.9387, 32)
        assert found.next == ["dnalm pretrain --data 'my data/vocab4' --resume"]
        write_json(tmp_path / "any name", record())
        found = identify(tmp_path / "any name")
        assert (found.kind, found.title, found.next) == ("run", "pretrain run (done)", [])
        assert found.facts["verdict"] == "It learned something."

    def test_outputs(self, tmp_path, capsys):
        for mode in ("full", "vocab4"):
            write_json(tmp_path / mode / "run.json", record())
            checkpoint.write_pt(tmp_path / f"ckpt_{mode}.pt", {})
        found = identify(tmp_path)
        assert (found.kind, found.title) == ("outputs", "outputs of pretraining")
        assert found.facts["full"]["bits_per_base"] == 1.9387
        assert found.facts["files"] == ["ckpt_full.pt", "ckpt_vocab4.pt"]
        assert all(shlex.split(command)[0] == "dnalm" for command in found.next)
        assert all(shlex.split(command)[1] in VERBS for command in found.next)
        run(Options(tmp_path))
        assert "step 4,000" in capsys.readouterr().out


class TestJson:
    def test_losses_as_published(self, tmp_path):
        losses = {"iterations": [0, 1000], "train_losses": [1.4, 1.34], "val_losses": [1.39, 1.35]}
        write_json(tmp_path / "losses_vocab4.json", losses | {"elapsed_time": 12.0, "vocab_size": 4})
        found = identify(tmp_path / "losses_vocab4.json")
        assert found.kind == "losses"
        last = {f"last_{name}": values[-1] for name, values in losses.items()}
        assert found.facts == {"vocab_size": 4, "evaluations": 2} | last

    def test_summary_and_metrics(self, tmp_path):
        write_json(tmp_path / "s.json", {"elapsed_time": 5.0, "best_val_loss": 1.3, "checkpoint": "c.pt"})
        assert identify(tmp_path / "s.json").kind == "summary"
        lines = '{"step": 10, "loss": 1.4}\n{"step": 20, "loss": 1.3}\n'
        found = identify(write(tmp_path / "metrics.jsonl", lines))
        assert (found.kind, found.facts) == ("metrics", {"names": ["step", "loss"]})


class TestPt:
    def published(self, path, vocab_size=4, **more):
        wte = torch.randn(vocab_size, 8)
        model = {"transformer.wte.weight": wte, "transformer.wpe.weight": torch.zeros(5, 8)}
        args = {"n_layer": 1, "n_embd": 8, "vocab_size": vocab_size}
        content = {"model_args": args, "model": model | {"lm_head.weight": wte.clone()}, "iter": 4000}
        checkpoint.write_pt(path, content | {"best_val_loss": 1.35} | more)
        return identify(path)

    def test_a_published_one(self, tmp_path):
        found = self.published(tmp_path / "ckpt_vocab4.pt")
        assert found.kind == "published-gpt"
        assert found.facts["model_args"]["n_embd"] == 8
        assert found.facts["parameters"] == 4 * 8 + 5 * 8  # the tied head is not counted twice
        assert (found.facts["vocabulary"], found.facts["best_val_loss"]) == ("'ACGT'", 1.35)
        assert self.published(tmp_path / "b.pt", 40).facts["vocabulary"].startswith("'\\n0123")
        unknown = self.published(tmp_path / "c.pt", 7).facts["vocabulary"]
        odd = self.published(tmp_path / "e.pt", model_args={"vocab_size": [4]})
        assert odd.facts["vocabulary"] == unknown == "not named by the file"
        own = self.published(tmp_path / "d.pt", 7, characters="\n>ACGTn")
        assert own.facts["vocabulary"] == "'\\n>ACGTn'"
        assert "characters" not in own.facts
        assert "--config full" in own.next[0]
        torch.save({"w": torch.zeros(3)}, tmp_path / "old", _use_new_zipfile_serialization=False)
        assert identify(tmp_path / "old").facts["parameters"] == 3  # as before PyTorch 1.6

    def test_one_that_would_run_code_is_refused_and_not_run(self, tmp_path):
        marker = tmp_path / "was run"

        class Evil:
            def __reduce__(self):
                return (type(tmp_path).touch, (marker,))

        torch.save({"model": Evil()}, tmp_path / "evil.pt")
        write(tmp_path / "evil.bin", pickle.dumps(Evil()))
        for name in ("evil.pt", "evil.bin"):
            with pytest.raises(InputError, match=name):
                identify(tmp_path / name)
        assert not marker.exists()
