"""Small encoders of random weights in the hub's layout, tokenizers included: trained in every way."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch

import dnalm
from dnalm.checkpoint import write_pt
from dnalm.cli import main
from dnalm.commands.interact_train import run
from dnalm.files import read_json
from dnalm.models.dnabert2 import open_dnabert2
from dnalm.models.pair_shape import EncodersConfig, TuningConfig

pytest.importorskip("rdkit")
GENES = ["ACGTTGCAGGATCCATTGACA", "GATTACAGATTACA"]


@pytest.fixture(scope="module")
def binary(dnabert2, tmp_path_factory):
    """The DNABERT-2 with its weights as pytorch_model.bin, as on the hub."""
    folder = tmp_path_factory.mktemp("DNABERT-bin", numbered=False)
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((dnabert2 / name).read_bytes())
    write_pt(folder / "pytorch_model.bin", safetensors.torch.load_file(dnabert2 / "model.safetensors"))
    return folder


@pytest.mark.parametrize(
    "tuning",
    [TuningConfig(), TuningConfig(unfreeze_last=1), TuningConfig(lora_rank=2), TuningConfig(freeze=False)],
    ids=["frozen", "last layer", "LoRA", "all"],
)
def test_both_encoders_train_and_predict_in_every_way_from_either_kind_of_file(
    foundation, dnabert2, binary, chemberta, tuning
):
    chances = []
    for folder in (dnabert2, binary):
        options = replace(
            foundation,
            out=foundation.out.with_name(folder.name),
            encoders=EncodersConfig(str(folder), str(chemberta)),
            tuning=tuning,
        )
        run(options)
        about = read_json(options.out / "results.json")["model"]
        chances.append(dnalm.load(options.out).predict(GENES, ["CCO", "c1ccccc1N"]))
    assert 0 < about["trained_parameters"] <= about["parameters"]
    assert (about["trained_parameters"] == about["parameters"]) == (not tuning.freeze)
    assert ((chances[0] > 0) & (chances[0] < 1)).all()
    np.testing.assert_array_equal(*chances)


def test_check_prints_every_tensor_as_it_is_in_the_file(binary, chemberta, capsys):
    flags = ["--dna-encoder", str(binary), "--mol-encoder", str(chemberta), "--tensors", "--device", "cpu"]
    assert main(["interact", "check", *flags]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    for name, tensor in open_dnabert2(binary).state_dict().items():
        wanted = f"mean {tensor.mean():.4g}, standard deviation {tensor.std(correction=0):.4g}"
        assert f"{name} {list(tensor.shape)}: {wanted}" in lines
