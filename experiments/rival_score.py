"""One evaluation as a process of its own: ``python rival_score.py CONFIG TEACHER RESULTS COMMAND``.

``CONFIG`` is a JSON file of the teacher's config with what to evaluate; rows are in ``RESULTS`` as they are made.
"""

import json
import sys
from pathlib import Path

from rival_process import exit_code

from drf_jax.runs.evaluate import evaluate


def main(config: str, teacher: str, results: str, command: str) -> int:
    def act():
        evaluate(json.loads(Path(config).read_text()), teacher, command, Path(results))

    return exit_code(act)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
