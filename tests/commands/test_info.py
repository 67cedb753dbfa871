"""Tests for dnalm/commands/info.py; those of genomic files are in tests/formats/test_sniff.py."""

import gzip
import json
import pickle
import shlex
import shutil
import subprocess
import sys

import pytest
import torch

from dnalm import checkpoint
from dnalm.cli import VERBS
from dnalm.commands import prepare
from dnalm.commands.info import Options, identify, run
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


def commands_exist(finding):
    return all(
        shlex.split(command)[:1] == ["dnalm"] and shlex.split(command)[1] in VERBS for command in finding.next
    )


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

    def test_the_folder_that_holds_two_of_them(self, data):
        found = identify(data)
        assert found.kind == "prepared-genomes"
        assert found.facts["vocab4"] == "4 characters: 'ACGT'"
        assert [shlex.split(command)[3] for command in found.next] == [
            str(data / "full"),
            str(data / "vocab4"),
        ]

    def test_two_of_different_genomes_are_said_to_be(self, data, tmp_path):
        assert "not_the_same_bases" not in identify(data).facts
        other = write(tmp_path / "other.fa", ">c\n" + "ACGT" * 1_000 + "\n")
        prepare.run(prepare.Options(genome=(other,), out=tmp_path / "b", vocab="full", quiet=True))
        shutil.rmtree(data / "full")
        shutil.move(tmp_path / "b/full", data / "full")
        full, vocab4 = identify(data).facts["not_the_same_bases"]
        assert full.startswith("full is of other.fa")
        assert vocab4.startswith("vocab4 is of genome.fa")

    def test_the_split_is_said_as_it_is(self, tmp_path):
        genome = write(tmp_path / "g.fa", ">c\n" + "ACGT" * 20_000 + "\n")
        for published, what in ((False, "bases"), (True, "tokens (the published split)")):
            prepare.run(prepare.Options((genome,), tmp_path / what, val_fraction=0.0049, published=published))
            split = identify(tmp_path / what).facts["split"]
            assert split == f"the last 0.49% of the {what} for validation"

    def test_a_damaged_one_is_named(self, data):
        (data / "full" / "val.bin").write_bytes(b"\0")
        with pytest.raises(ValueError, match=r"val.bin: .*expected .* bytes, got 1"):
            identify(data)

    def test_a_checkpoint_and_its_parameters_without_reading_them(self, tmp_path):
        folder = tmp_path / "checkpoint"
        checkpoint.save(folder, {"a": torch.zeros(4, 8), "b": torch.zeros(8)}, description())
        found = identify(folder)
        assert (found.kind, found.title) == ("checkpoint", "language model")
        assert found.facts["parameters"] == 40
        assert found.facts["characters"] == "'ACGT'"
        assert found.facts["encoder"]["n_embd"] == 8
        assert found.facts["step"] == 50
        assert identify(folder / "checkpoint.json") == found
        (folder / "model.safetensors").unlink()
        with pytest.raises(ValueError, match=r"model.safetensors: missing"):
            identify(folder)

    def test_the_state_to_resume_from_is_no_model(self, tmp_path):
        checkpoint.save(tmp_path / "last", {"a": torch.zeros(2)}, {"step": 7, "evaluations": []})
        assert identify(tmp_path / "last").kind == "training-state"

    def test_the_folder_of_a_run(self, tmp_path):
        folder = tmp_path / "vocab4"
        checkpoint.save(folder / "checkpoint", {"a": torch.zeros(4, 8)}, description())
        write_json(folder / "run.json", record("interrupted"))
        found = identify(folder)
        assert found.kind == "run-folder"
        assert found.facts["status"] == "interrupted"
        assert found.facts["bits_per_base"] == 1.9387
        assert found.facts["parameters"] == 32
        assert found.next == ["dnalm pretrain --data 'my data/vocab4' --resume"]
        assert commands_exist(found)

    def test_outputs(self, tmp_path, capsys):
        for mode in ("full", "vocab4"):
            write_json(tmp_path / mode / "run.json", record())
            checkpoint.write_pt(tmp_path / f"ckpt_{mode}.pt", {})
        found = identify(tmp_path)
        assert (found.kind, found.title) == ("outputs", "outputs of pretraining")
        assert found.facts["full"]["bits_per_base"] == 1.9387
        assert found.facts["files"] == ["ckpt_full.pt", "ckpt_vocab4.pt"]
        assert commands_exist(found)
        run(Options(tmp_path))
        assert "step 4,000" in capsys.readouterr().out

    @pytest.mark.parametrize("names", [[], ["notes.txt"]])
    def test_another_folder_is_refused_with_what_was_looked_for(self, tmp_path, names):
        for name in names:
            (tmp_path / name).touch()
        with pytest.raises(
            ValueError, match=r"it holds (nothing|notes.txt); known are meta.json .* run.json"
        ):
            identify(tmp_path)


class TestJson:
    def test_a_run(self, tmp_path):
        write_json(tmp_path / "any name", record())
        found = identify(tmp_path / "any name")
        assert (found.kind, found.title, found.next) == ("run", "pretrain run (done)", [])
        assert found.facts["verdict"] == "It learned something."

    def test_losses_as_published(self, tmp_path):
        content = {
            "iterations": [0, 1000],
            "train_losses": [1.4, 1.34],
            "val_losses": [1.39, 1.35],
            "elapsed_time": 12.0,
            "vocab_size": 4,
        }
        write_json(tmp_path / "losses_vocab4.json", content)
        found = identify(tmp_path / "losses_vocab4.json")
        assert found.kind == "losses"
        assert found.facts == {
            "vocab_size": 4,
            "evaluations": 2,
            "last_iterations": 1000,
            "last_train_losses": 1.34,
            "last_val_losses": 1.35,
        }

    def test_summary(self, tmp_path):
        write_json(tmp_path / "s.json", {"elapsed_time": 5.0, "best_val_loss": 1.3, "checkpoint": "c.pt"})
        assert identify(tmp_path / "s.json").kind == "summary"

    def test_metrics(self, tmp_path):
        found = identify(
            write(tmp_path / "metrics.jsonl", '{"step": 10, "loss": 1.4}\n{"step": 20, "loss": 1.3}\n')
        )
        assert (found.kind, found.facts) == ("metrics", {"names": ["step", "loss"]})

    @pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
    def test_another_is_refused(self, tmp_path, name):
        with pytest.raises(ValueError, match=r"not a file that dnalm knows"):
            identify(write(tmp_path / name, '{"hello": 1}'))

    @pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
    def test_a_cut_one_is_refused(self, tmp_path, name):
        with pytest.raises(ValueError, match=rf"{name}: (expected JSON|not a file)"):
            identify(write(tmp_path / name, '{"hello": '))


class TestPt:
    def published(self, path, vocab_size=4, **more):
        wte = torch.randn(vocab_size, 8)
        checkpoint.write_pt(
            path,
            {
                "model_args": {"n_layer": 1, "n_embd": 8, "vocab_size": vocab_size},
                "model": {"transformer.wte.weight": wte, "transformer.wpe.weight": torch.zeros(5, 8)}
                | {"lm_head.weight": wte.clone()},
                "best_val_loss": 1.35,
                "iter": 4000,
                **more,
            },
        )
        return identify(path)

    def test_a_published_one(self, tmp_path):
        found = self.published(tmp_path / "ckpt_vocab4.pt")
        assert found.kind == "published-gpt"
        assert found.facts["model_args"]["n_embd"] == 8
        assert found.facts["parameters"] == 4 * 8 + 5 * 8  # the tied head is not counted twice
        assert found.facts["vocabulary"] == "'ACGT'"
        assert found.facts["best_val_loss"] == 1.35
        assert self.published(tmp_path / "b.pt", 40).facts["vocabulary"].startswith("'\\n0123")
        assert self.published(tmp_path / "c.pt", 7).facts["vocabulary"] == "not named by the file"
        odd = self.published(tmp_path / "e.pt", model_args={"vocab_size": [4]})
        assert odd.facts["vocabulary"] == "not named by the file"
        own = self.published(tmp_path / "d.pt", 7, characters="\n>ACGTn")
        assert own.facts["vocabulary"] == "'\\n>ACGTn'"
        assert "characters" not in own.facts
        assert "--config full" in own.next[0]

    def test_the_format_before_pytorch_1_6(self, tmp_path):
        torch.save({"w": torch.zeros(3)}, tmp_path / "old", _use_new_zipfile_serialization=False)
        assert identify(tmp_path / "old").facts["parameters"] == 3

    def test_one_that_would_run_code_is_refused_and_not_run(self, tmp_path):
        marker = tmp_path / "was run"

        class Evil:
            def __reduce__(self):
                return (type(tmp_path).touch, (marker,))

        torch.save({"model": Evil()}, tmp_path / "evil.pt")
        with pytest.raises(ValueError, match=r"evil.pt: refused"):
            identify(tmp_path / "evil.pt")
        with pytest.raises(ValueError, match="not a file that dnalm knows"):
            identify(write(tmp_path / "evil.bin", pickle.dumps(Evil())))
        assert not marker.exists()

    def test_a_cut_one_is_refused(self, tmp_path):
        self.published(tmp_path / "a.pt")
        with pytest.raises(ValueError, match=r"b.pt: damaged or cut short"):
            identify(write(tmp_path / "b.pt", (tmp_path / "a.pt").read_bytes()[:1000]))

    def test_another_archive_is_none(self, tmp_path):
        torch.save({"w": torch.zeros(3)}, tmp_path / "a.pt")
        renamed = (tmp_path / "a.pt").read_bytes().replace(b"data.pkl", b"data.txt")
        with pytest.raises(ValueError, match=r"its name says PyTorch, its content does not"):
            identify(write(tmp_path / "b.pt", renamed))


class TestOthers:
    def test_safetensors(self, tmp_path):
        checkpoint.save(tmp_path / "c", {"a": torch.zeros(4, 8)}, {})
        found = identify(tmp_path / "c" / "model.safetensors")
        assert (found.kind, found.facts["parameters"]) == ("safetensors", 32)

    def test_not_there(self, tmp_path):
        with pytest.raises(ValueError, match=r"nowhere: there is no such path"):
            identify(tmp_path / "nowhere")

    def test_empty(self, tmp_path):
        with pytest.raises(ValueError, match=r"x.fa: an empty file"):
            identify(write(tmp_path / "x.fa", ""))

    @pytest.mark.parametrize(
        "content",
        [b"\x1f\x8b", gzip.compress(b"x", mtime=0)[:10], BGZIP_EXTRA],
        ids=["magic", "gzip", "bgzip"],
    )
    def test_a_damaged_gzip(self, tmp_path, content):
        with pytest.raises(ValueError, match="a gzip file that is damaged or cut short"):
            identify(write(tmp_path / "x.fa.gz", content))

    @pytest.mark.parametrize(
        "magic", [b"\x43\x27\x41\x1a", b"\x26\xfc\x8f\x88", (9).to_bytes(8, "little") + b"{"]
    )
    @pytest.mark.parametrize("size", [0, 3, 9])
    def test_a_cut_binary_file_gives_no_traceback(self, tmp_path, magic, size):
        try:
            identify(write(tmp_path / "x", magic + b"\xff" * size))
        except ValueError as error:
            assert str(error).startswith(str(tmp_path / "x"))  # noqa: PT017

    def test_text_and_json_say_the_same(self, tmp_path, capsys):
        path = write(tmp_path / "a genome.fa", FASTA)
        run(Options(path))
        text = capsys.readouterr().out.splitlines()
        run(Options(path, json=True))
        content = json.loads(capsys.readouterr().out)
        assert text[0] == f"{path}: FASTA of DNA"
        assert "  length bp     16" in text
        assert text[-2:] == ["next", f"  dnalm prepare '{path}' --out data"]
        assert content["kind"] == "fasta"
        assert content["facts"]["length_bp"] == 16
        assert content["next"] == [f"dnalm prepare '{path}' --out data"]

    def test_torch_is_not_loaded_for_a_genome(self, tmp_path):
        path = write(tmp_path / "g.fa", FASTA)
        code = "import sys; from dnalm.cli import main; main(sys.argv[1:]); print('torch' in sys.modules)"
        words = [sys.executable, "-c", code, "info", str(path)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "False"
