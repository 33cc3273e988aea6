"""Draw samples of a packed model as a contact sheet."""

from pathlib import Path

from drf_jax.runs.sample import wanted
from drf_jax.runs.teacher import grid_of_samples
from drf_jax.zoo.model import load_model


def sample_model(
    where: str | Path,
    path: Path | None,
    count: int,
    name: str = "",
    prompt: str | None = None,
    style: str | None = None,
    guidance: float | None = None,
) -> Path:
    """As `drf_jax.runs.sample.sample` does of a run; returns where the picture is.

    Args:
      where: the model's name, or its folder.
      path: of the picture; the model's name in the current folder unless given.
      count: samples.
      name: of one of its samplers; its first unless given.
      prompt: caption of all samples; those of its examples unless given.
      style: name of their class; the labels of its examples unless given.
      guidance: weight of classifier-free guidance; the model's own unless given.

    Raises:
      UserError: no such model or sampler, or it was not trained for what is asked.
    """
    model = load_model(where)
    data = model.teacher.data
    given = wanted(data, prompt, style)
    path = path or Path(f"{model.facts['name']}.png")
    grid_of_samples(model.method(name, guidance), model.teacher.config, data, path, count, given)
    return path
