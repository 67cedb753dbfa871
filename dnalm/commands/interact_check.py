"""`dnalm interact check`: do encoders and model load and run here? What is missing, and how to get it."""

from dataclasses import dataclass, field

from dnalm.commands import interact_train
from dnalm.commands.runs import prepare_process
from dnalm.device import Compute
from dnalm.models.cross_attention import CrossAttentionConfig
from dnalm.models.input_encoder import ModelName, attention_of
from dnalm.models.pair_shape import EncodersConfig, TuningConfig
from dnalm.use.doctor import check_pair_model


@dataclass(frozen=True)
class Options:
    """Open the encoders, take one training step on a few pairs, and report what is missing."""

    model: ModelName = "foundation"  # As for `dnalm interact train`.
    recipe: str = "foundation"
    """The recipe of --model unless given: its name, or a TOML file; flags win over it."""
    encoders: EncodersConfig = field(default_factory=EncodersConfig)
    tuning: TuningConfig = field(default_factory=TuningConfig)
    attention: CrossAttentionConfig = field(default_factory=CrossAttentionConfig)
    tensors: bool = False  # Print each tensor of the pretrained encoders, with its mean and spread.
    compute: Compute = field(default_factory=Compute)


def default_options(recipe: str = "", model: str = "foundation") -> Options:
    """Return the options that `--recipe` stands for; flags are laid over them.

    Raises:
        InputError: if the recipe does not exist or has wrong fields, all of them named.
    """
    start = interact_train.default_options(recipe, model)
    return Options(
        recipe=start.recipe, encoders=start.encoders, tuning=start.tuning, attention=start.attention
    )


def run(options: Options) -> None:
    """Check, and print a line for each result.

    Raises:
        InputError: naming all that is missing or does not work.
    """
    processor = prepare_process(options.compute)
    print(f"device: {processor}")
    attention = attention_of(options.model, options.attention)
    parts = options.encoders, options.tuning, attention, processor
    for line in check_pair_model(*parts, tensors=options.tensors):
        print(line.replace("`dna_encoder`", "--dna-encoder").replace("`mol_encoder`", "--mol-encoder"))
    print("all of it works")
