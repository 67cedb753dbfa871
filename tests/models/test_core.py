"""Tests for dnalm/models/core.py: what is no core is refused, and reported."""

import pytest
import torch

from dnalm import checkpoint
from dnalm.checkpoint import write_pt
from dnalm.files import write_json
from dnalm.models.core import load_core
from dnalm.models.gpt import GPT, GPTConfig
from dnalm.models.language import LanguageModel
from dnalm.tokens.characters import HG38_CHARACTERS

SIZES = {"n_layer": 1, "n_head": 2, "n_embd": 8, "block_size": 6}
ARGS = SIZES | {"dropout": 0.0, "bias": False, "vocab_size": 4}


def state(vocab_size=4):
    torch.manual_seed(0)
    return LanguageModel(GPTConfig(**SIZES, position="learned"), vocab_size).state_dict()


def file(tmp_path, args=ARGS, model=None, **more):
    write_pt(tmp_path / "ckpt_vocab4.pt", {"model_args": args, "model": model or state(), **more})
    return tmp_path


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module._orig_mod."])  # what wrappers put before
def test_a_published_checkpoint_is_read_with_every_tensor(tmp_path, prefix):
    model = {prefix + name: tensor for name, tensor in state().items()}
    core = load_core(file(tmp_path, model=model), "vocab4")
    assert (core.encoder.position, core.characters, core.local_start) == ("learned", "ACGT", False)
    wanted = {f"transformer.{name}": tensor for name, tensor in core.tensors.items()}
    assert wanted.keys() == state().keys() - {"lm_head.weight"}
    assert all(torch.equal(tensor, state()[name]) for name, tensor in wanted.items())


def test_letters_are_those_of_the_file_or_the_published_ones_of_its_size(tmp_path):
    own = "".join(map(chr, range(60, 100)))  # 40, as many as hg38 has
    for more, characters in (({"characters": own}, own), ({}, HG38_CHARACTERS)):
        made = file(tmp_path, ARGS | {"vocab_size": 40}, state(40), **more) / "ckpt_vocab4.pt"
        assert load_core(made, "full").characters == characters


@pytest.mark.parametrize("letters", ["ACG", "ACGTN", "AACG", "ACG\xe9", 4, ["A", "C", "G", "T"]])
def test_letters_that_are_no_vocabulary_of_the_model_are_refused(tmp_path, letters):
    with pytest.raises(ValueError, match=r"ckpt_vocab4\.pt: expected its characters to be 4 different"):
        load_core(file(tmp_path, characters=letters), "vocab4")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"args": ARGS | {"vocab_size": 13}, "model": state(13)}, "its characters to be 13 .*got 'None'"),
        ({"args": ARGS | {"vocab_size": 13}}, "its tensors are not this model's.*wanted"),
    ],
)
def test_refuses_a_damaged_or_foreign_checkpoint(tmp_path, made, message):
    with pytest.raises(ValueError, match=message):
        load_core(file(tmp_path, **made), "vocab4")


def folder(tmp_path, step, status):
    """A folder of `dnalm pretrain`, as far as it is read here."""
    about = {"kind": "language", "encoder": {"name": "gpt", **SIZES}, "characters": "ACGT"}
    about |= {} if step is None else {"step": step}
    encoder = GPT(GPTConfig(**SIZES), 4).state_dict()
    tensors = {f"transformer.{name}": tensor for name, tensor in encoder.items()}
    checkpoint.save(tmp_path / "vocab4" / "checkpoint", tensors, about)
    if status is not None:
        run = {"data": {"sources": [{"name": "g.fa"}]}, "recipe": {"task": {}}, "status": status}
        write_json(tmp_path / "vocab4" / "run.json", run)
    return tmp_path


@pytest.mark.parametrize("status", ["running", "done", None])
@pytest.mark.parametrize("config", ["vocab4", None])
def test_a_core_of_before_the_first_step_is_refused_unless_its_shape_alone_is_wanted(
    tmp_path, status, config
):
    where = folder(tmp_path, 0, status)
    where = where if config else where / "vocab4"
    with pytest.raises(ValueError, match="got one that is untrained; .* --resume.*--random-core"):
        load_core(where, config)
    assert load_core(where, config, untrained=True).encoder.n_embd == 8


@pytest.mark.parametrize(
    ("step", "status", "trained"),
    [
        (250, "done", ""),
        (1250, "running", "1,250 steps, "),
        (1, "interrupted", "1 step, "),
        (None, "failed", ""),
    ],
)
def test_a_core_whose_training_is_not_done_is_called_so(tmp_path, step, status, trained):
    core, path = load_core(folder(tmp_path, step, status), "vocab4"), tmp_path / "vocab4"
    (path / "run.json").unlink()  # without a record nothing is known
    unknown = load_core(path, None)
    assert (unknown.origin, unknown.caution) == (str(path), "")
    unfinished = "" if status == "done" else f", {trained}unfinished ({status})"
    assert core.origin == f"{path}, pretrained on g.fa{unfinished}"
    assert bool(core.caution) == bool(unfinished)
    if unfinished:
        assert core.caution.startswith(f"{path}: its pretraining is unfinished ({trained}status {status});")
