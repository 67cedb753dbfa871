"""transformers' GPT-2 of the same size under its Trainer, with its best simple settings.

Fused attention and AdamW, no dropout, exact GELU, bf16 or fp32, no saving and hardly any logging. The Trainer
runs in a thread of its own, and takes as many steps at a time as a round has: nothing is set up anew between.
"""

import queue
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from torch.utils.data import Dataset

from dnalm.models.gpt import GPTConfig
from dnalm.train.optim import TrainConfig


class Windows(Dataset[dict[str, Any]]):
    """Random windows; GPT-2 shifts the labels itself."""

    def __init__(self, ids: npt.NDArray[np.uint8], length: int) -> None:
        self.ids, self.length = ids, length

    def __len__(self) -> int:
        return len(self.ids) - self.length

    def __getitem__(self, at: int) -> dict[str, Any]:
        window = torch.from_numpy(self.ids[at : at + self.length].astype(np.int64))
        return {"input_ids": window, "labels": window}


class Paced(transformers.TrainerCallback):
    """Pauses the Trainer after every `steps` until `go` has an item."""

    def __init__(self, steps: int) -> None:
        self.steps, self.taken = steps, 0
        self.go, self.done = queue.Queue[None](), queue.Queue[BaseException | None]()

    def on_step_end(self, *_about: Any, **_more: Any) -> None:
        """Count a step."""
        self.taken += 1
        if self.taken % self.steps == 0:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.done.put(None)
            self.go.get()


def _gpt2(vocab_size: int, config: GPTConfig) -> transformers.GPT2LMHeadModel:
    """Return a GPT-2 of the same size, without dropout."""
    shape = transformers.GPT2Config(
        vocab_size=vocab_size,
        n_positions=config.block_size,
        n_embd=config.n_embd,
        n_layer=config.n_layer,
        n_head=config.n_head,
        activation_function="gelu",
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0),
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
        attn_implementation="sdpa",
    )
    return transformers.GPT2LMHeadModel(shape)


def trainer_steps(
    ids: npt.NDArray[np.uint8],
    vocab_size: int,
    config: GPTConfig,
    train: TrainConfig,
    device: str,
    *,
    folder: str,
    steps: int,
    bf16: bool,
    mode: str,
) -> Callable[[], None]:
    """Return a function that takes `steps` steps; `mode` is torch.compile's, empty for none."""
    model = _gpt2(vocab_size, config)
    pace, windows = Paced(steps), Windows(ids, config.block_size)
    arguments = transformers.TrainingArguments(
        output_dir=folder,
        per_device_train_batch_size=train.batch_size,
        max_steps=1_000_000,  # more than are ever taken
        learning_rate=train.lr,
        weight_decay=train.weight_decay,
        max_grad_norm=train.clip,
        optim="adamw_torch_fused",
        bf16=bf16,
        use_cpu=device == "cpu",
        torch_compile=bool(mode),
        torch_compile_mode=mode or None,
        dataloader_num_workers=4 if device == "cuda" else 0,
        logging_nan_inf_filter=False,  # waits for the device in every step
        save_strategy="no",
        logging_steps=100,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=windows, callbacks=[pace])

    def forever() -> None:
        pace.go.get()
        try:
            trainer.train()
        except BaseException as error:
            pace.done.put(error)

    threading.Thread(target=forever, daemon=True).start()

    def run() -> None:
        pace.go.put(None)
        if failed := pace.done.get():
            raise failed

    return run
