"""Statistics of a data set's features, as a file that says what it was made from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drf_jax import build
from drf_jax.evaluation.extractor import Extractor
from drf_jax.evaluation.reference import source_statistics
from drf_jax.evaluation.statistics_file import Provenance, provenance_of, save_statistics


def data_statistics(
    config: Mapping[str, Any], extractor: Extractor, out: str | Path, split: str = ""
) -> Provenance:
    """Write the statistics of all images of ``config.data`` to ``out``.

    Args:
      config: its section ``data`` names the data set.
      extractor: of the features.
      out: the file, which `drf evaluate` takes as ``config.evaluate.statistics``.
      split: of the data set; that of ``config.data`` unless given.

    Raises:
      UserError: no such split, or images that the extractor doesn't take.
    """
    data = build.split(config, split) if split else build.source(config)
    statistics = source_statistics(extractor, data, range(len(data)))
    provenance = provenance_of(
        extractor,
        dataset=data.name,
        split=split or config["data"].get("split", "train"),
        count=statistics.n,
        image_shape=data.image_shape,
    )
    save_statistics(out, statistics, provenance)
    return provenance
