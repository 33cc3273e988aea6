"""How a process of a table of students starts and ends, whatever it does."""

import sys
from collections.abc import Callable

from absl import logging

from drf_jax.cli.main import compilation_cache, rarely_collect
from drf_jax.errors import UserError


def exit_code(act: Callable[[], object]) -> int:
    """Do it; 2 after a mistake of the user's, which is one line then."""
    rarely_collect()
    logging.set_verbosity(logging.WARNING)
    compilation_cache()
    try:
        act()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0
