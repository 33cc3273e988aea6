"""One evaluation as a process of its own: ``python rival_score.py CONFIG TEACHER RESULTS COMMAND``.

``CONFIG`` is a JSON file of the teacher's config with what to evaluate; rows are in ``RESULTS`` as they are made.
"""

import json
import sys
from pathlib import Path

from absl import logging

from drf_jax.cli.main import compilation_cache, rarely_collect
from drf_jax.errors import UserError
from drf_jax.rooms import begin
from drf_jax.runs.evaluate import evaluate


def main(config: str, teacher: str, results: str, command: str) -> int:
    begin()
    rarely_collect()
    logging.set_verbosity(logging.WARNING)
    compilation_cache()
    try:
        evaluate(json.loads(Path(config).read_text()), teacher, command, Path(results))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
