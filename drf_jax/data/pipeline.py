"""Training batches as a function of the step: ``batches(source, batch_size, seed)(step)``.

Each epoch is another permutation of the source (`drf_jax.data.order`). Batch ``step`` is made by index, so a
resumed run needs the step and no pipeline state; `drf_jax.data.ahead` makes the following ones in
other threads. With P processes, process p gets rows [p B/P, (p+1) B/P) of the same global batch: what
is trained on does not depend on P.
"""

from collections.abc import Callable

import jax
import numpy as np

from drf_jax.data.ahead import read_ahead
from drf_jax.data.gather import gather
from drf_jax.data.image import to_model
from drf_jax.data.order import shuffled_rows
from drf_jax.data.source import Source
from drf_jax.errors import UserError

Batches = Callable[[int], dict[str, np.ndarray]]
"""``step -> {"image": float32 [b, h, w, c] in [-1, 1], "label": int32 [b]}``, and of data with captions
``"caption_embedding": float32 [b, caption_width]``."""


def batches(source: Source, batch_size: int, seed: int) -> Batches:
    """Shuffled, endless batches of the source.

    Args:
      source: the images.
      batch_size: of the global batch B; each process gets B / P rows of it.
      seed: of the order, 0 <= seed < 2**32.

    Raises:
      UserError: the batch does not divide among the processes, or the seed is out of range.
    """
    processes = jax.process_count()
    if batch_size < 1 or batch_size % processes:
        raise UserError(f"batch_size {batch_size} must be a positive multiple of {processes}")
    if not 0 <= seed < 2**32:
        raise UserError(f"seed {seed} must be at least 0 and below 2**32")
    rows = shuffled_rows(len(source), batch_size // processes, seed)

    def examples(i: int) -> dict[str, np.ndarray]:
        stored = gather(source, rows(i))
        return {**stored, "image": to_model(stored["image"])}

    return read_ahead(examples)
