"""Heads: states in, predictions out. One file each, one line each in `HEADS`."""

from dnalm.heads.next_token import NextTokenHead
from dnalm.heads.regression import RegressionHead

HEADS = {"next_token": NextTokenHead, "regression": RegressionHead}
