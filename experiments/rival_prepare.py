"""A student's cached trajectories by a process: ``python rival_prepare.py CONFIG WORKDIR TRIAL POOL SECONDS``.

``CONFIG`` is a JSON file of the student's config; the seconds that it took are written to the file ``SECONDS``.
"""

import json
import sys
from pathlib import Path

from absl import logging

from drf_jax.atomic import replacing
from drf_jax.cli.main import compilation_cache
from drf_jax.errors import UserError
from drf_jax.runs.preparation import prepare


def main(config: str, workdir: str, trial: str, pool: str, seconds: str) -> int:
    logging.set_verbosity(logging.WARNING)
    compilation_cache()
    try:
        asked = json.loads(Path(config).read_text())
        spent = prepare(asked, Path(workdir), Path(trial), Path(pool))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    with replacing(Path(seconds)) as file:
        file.write(json.dumps(spent).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
