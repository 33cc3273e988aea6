"""One training of given seconds as a process: ``python rival_train.py CONFIG WORKDIR SECONDS POOL EVERY UPDATES``.

``CONFIG`` is a JSON file of the run's config; the rest are the arguments of `drf_jax.runs.timed.train_for`.
"""

import json
import sys
from pathlib import Path

from rival_process import exit_code

from drf_jax import turns
from drf_jax.runs.timed import train_for


def main(config: str, workdir: str, seconds: str, pool: str, every: str, updates: str) -> int:
    def act():
        asked = json.loads(Path(config).read_text())
        turns.keep()
        train_for(asked, Path(workdir), float(seconds), Path(pool), int(every), int(updates))

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
