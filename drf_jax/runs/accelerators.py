"""The accelerators of one host for many processes at a time: each process sees one of them.

On every accelerator several processes may take turns (`drf_jax.turns`), also with those of another command, where
``DRF_TURNS`` names the files by which all of them do. What a process has to know travels in its environment; NVIDIA's
``CUDA_VISIBLE_DEVICES`` says which accelerator it sees. Each has a share of the host's cores (`drf_jax.runs.cores`),
but where the cores are the accelerator: there, whose turn it is has them all.
"""

import contextlib
import os
import queue
from collections.abc import Iterator, Mapping
from pathlib import Path

from drf_jax.errors import UserError
from drf_jax.runs import cores
from drf_jax.turns import VARIABLE

VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/dev/nvidiactl")
"""There where there is a GPU."""
Environment = Mapping[str, str]
"""What differs in the environment of a process."""


class Places:
    """``places`` for processes, as evenly as may be on ``accelerators`` of those that this process sees.

    Args:
      accelerators: how many to use; 1 leaves a process what it sees anyway.
      places: processes at a time.
      folder: gets the files by which they take turns, unless ``DRF_TURNS`` names one for each accelerator.

    Raises:
      UserError: this process sees fewer accelerators, or ``DRF_TURNS`` names another number of files.
    """

    def __init__(self, accelerators: int, places: int, folder: Path):
        seen = os.environ.get(VISIBLE, "")
        names = seen.split(",") if seen else [str(i) for i in range(accelerators)]
        if len(names) < accelerators:
            raise UserError(f"--accelerators={accelerators}: {VISIBLE}={seen} are {len(names)}")
        given = list(filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)))
        if given and len(given) != accelerators:
            raise UserError(
                f"{VARIABLE}={os.pathsep.join(given)}: name one file for each of --accelerators={accelerators}"
            )
        files = given or [str(folder / f"turns-{i}") for i in range(accelerators)]
        folder.mkdir(parents=True, exist_ok=True)
        self._free: queue.SimpleQueue[Environment] = queue.SimpleQueue()
        for place in range(places):
            i = place % accelerators
            turns = {VARIABLE: files[i]} if given or places > accelerators else {}
            mine = cores.share(place, places) if places > 1 and DRIVER.exists() else {}
            self._free.put(turns | mine | ({VISIBLE: names[i]} if accelerators > 1 else {}))

    @contextlib.contextmanager
    def one(self) -> Iterator[Environment]:
        """The environment of a place, once one is free; it is free again after the block."""
        mine = self._free.get()
        try:
            yield mine
        finally:
            self._free.put(mine)
