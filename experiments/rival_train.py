"""One training of given seconds as a process: ``python rival_train.py CONFIG WORKDIR SECONDS POOL EVERY UPDATES``.

``CONFIG`` is a JSON file of the run's config; the rest are the arguments of `drf_jax.runs.timed.train_for`.
"""

import json
import sys
from pathlib import Path

from absl import logging

from drf_jax.cli.main import compilation_cache, rarely_collect
from drf_jax.errors import UserError
from drf_jax.rooms import begin
from drf_jax.runs.timed import train_for


def main(config: str, workdir: str, seconds: str, pool: str, every: str, updates: str) -> int:
    begin()
    rarely_collect()
    logging.set_verbosity(logging.WARNING)
    compilation_cache()
    try:
        asked = json.loads(Path(config).read_text())
        train_for(asked, Path(workdir), float(seconds), Path(pool), int(every), int(updates))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
