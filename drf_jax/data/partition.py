"""A fixed place in [0, 1) for every name: train/test splits and orders that no seed can change.

    place(name) = (first 64 bits of SHA-256(name)) / 2^64                                        (1)

An image is in the test split when place(its name) is below the test fraction. Names are whatever must
not be torn apart: all drawings of one emoji share a name, so none of them leaks into the test.
"""

import hashlib


def place(name: str) -> float:
    """Equation (1)."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def split_of(name: str, test_fraction: float) -> str:
    """``"test"`` for that fraction of all names, else ``"train"``."""
    return "test" if place(name) < test_fraction else "train"
