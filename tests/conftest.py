"""Settings and fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)  # tiny tensors: threads only fight each other, 30 times slower on a busy machine

# The same examples in every run, and no clock: a busy machine must not fail a law that holds.
settings.register_profile("dnalm", derandomize=True, deadline=None, max_examples=50, database=None)
settings.load_profile("dnalm")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: $DNALM_TEST_DATA, or `shared/data` beside the project; or skip."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DNALM_TEST_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"needs real data: {folder} is not there; set DNALM_TEST_DATA to a folder that holds it")
    return folder
