"""Where this host keeps what can be made or fetched again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``~/.cache/drf_jax``; ``XDG_CACHE_HOME`` moves it."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "drf_jax"
