"""Tests for dnalm/commands/interact_check.py; cores that are untrained or unfinished: test_starts.py."""

import json
import shutil

import pytest
import safetensors.torch

from dnalm.cli import main
from dnalm.models.dnabert2 import DNABert2, DNABert2Config
from dnalm.models.pair_shape import EncodersConfig, TuningConfig
from dnalm.use import doctor

pytest.importorskip("rdkit")


def check(capsys, *flags):
    """Run the verb; return its exit code, and what it printed and said."""
    code = main(["interact", "check", "--device", "cpu", *map(str, flags)])
    return code, *capsys.readouterr()


def test_a_model_that_works_is_reported_with_its_parameters_and_whether_attention_can_learn(capsys, binding):
    code, out, _ = check(capsys)
    assert code == 0
    assert "model: foundation (kmer + morgan), " in out
    assert " 0 frozen" in out
    assert "the largest gradient of its queries is" in out
    assert out.splitlines()[-1] == "all of it works"
    assert "nothing to choose" in check(capsys, "--model", "foundation-pooled")[1]
    code, out, _ = check(capsys, "--model", "original", "--dna-encoder", "cnn", "--mol-encoder", "lstm")
    assert code == 0
    assert "attention" not in out
    code, out, _ = check(capsys, "--dna-encoder", binding.outputs / "vocab4")
    assert code == 0
    assert "parameters; states of width 16; a state depends on the left" in out


def test_all_that_is_missing_is_reported_at_once(capsys, tmp_path, monkeypatch):
    flags = ["--dna-encoder", tmp_path, "--mol-encoder", "someone/model"]
    code, out, err = check(capsys, *flags)
    assert code == 2
    assert "--dna-encoder: does not work" in out
    assert "--mol-encoder: does not work" in out
    assert "config.json: missing" in err
    assert "https://huggingface.co/someone/model/commits/main" in err
    assert "all of it works" not in out
    monkeypatch.setattr(doctor, "LIBRARIES", ("no-such-library",))
    lines = doctor.check_pair_model(EncodersConfig("kmer", "morgan"), TuningConfig(), None, None)
    assert 'pip install "dnalm[interaction]"' in next(lines)


def test_a_dnabert2_of_random_weights_in_the_hubs_layout(capsys, tmp_path, shared_data):
    """The published tokenizer over a small encoder, saved as it would lie on the hub."""
    pytest.importorskip("tokenizers")
    encoder = DNABert2(DNABert2Config(hidden=24, layers=2, heads=3, feed_forward=32))
    weights = {f"bert.{name}": tensor for name, tensor in encoder.state_dict().items()}
    safetensors.torch.save_file(weights, tmp_path / "model.safetensors")
    hub = shared_data / "hub" / "DNABERT-2-117M"
    config = json.loads((hub / "config.json").read_text())
    config |= {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shutil.copy(hub / "tokenizer.json", tmp_path)
    code, out, _ = check(capsys, "--dna-encoder", tmp_path)
    assert code == 0
    count = sum(parameter.numel() for parameter in encoder.parameters())
    assert f"{count:,} parameters; states of width 24; a state depends on the full text" in out
