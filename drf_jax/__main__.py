"""``python -m drf_jax`` is the ``drf`` command."""

from drf_jax.cli.main import run

run()
