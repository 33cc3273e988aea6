"""``drf features train`` and ``drf stats``: what an evaluation measures with, and what it measures against."""

from collections.abc import Sequence

from absl import flags

from drf_jax import build
from drf_jax.cli.config_file import define_config
from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import Extractor, load_extractor
from drf_jax.evaluation.features import FEATURE_SPACE
from drf_jax.evaluation.resize import RESIZES
from drf_jax.runs.features import FEATURE_SEED, train_features
from drf_jax.runs.statistics import data_statistics


def define_features(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    flags.DEFINE_string("out", "", "file to write, .npz", flag_values=f)
    help_text = "updates; config.evaluate.feature_steps unless given"
    flags.DEFINE_integer("steps", None, help_text, lower_bound=1, flag_values=f)
    flags.DEFINE_integer("seed", FEATURE_SEED, "of the training", lower_bound=0, flag_values=f)
    return define_config(f, argv)


def features(f: flags.FlagValues, command: str) -> None:
    steps = build.evaluate(f.config).feature_steps if f.steps is None else f.steps
    facts = train_features(f.config, output(f), steps, f.seed).provenance
    print(f.out)
    print(
        f"{facts['dataset']}: accuracy {facts['accuracy']:.4f} on held-out images; FD between halves "
        f"of the real data, {facts['floor_images']:,} images each: {facts['floor_fd']:.4g}"
    )


def define_stats(f: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    flags.DEFINE_string("out", "", "file to write, .npz", flag_values=f)
    flags.DEFINE_string("features", "", "the data set's classifier", flag_values=f)
    flags.DEFINE_string("inception", "", "or the weights of the FID Inception", flag_values=f)
    flags.DEFINE_enum(
        "resize", "pytorch-fid", list(RESIZES), "Inception's convention", flag_values=f
    )
    flags.DEFINE_bool("tf32", False, "Inception with TF32 convolutions", flag_values=f)
    flags.DEFINE_string("split", "", "of the data; config.data's unless given", flag_values=f)
    return define_config(f, argv)


def stats(f: flags.FlagValues, command: str) -> None:
    made = data_statistics(f.config, extractor(f), output(f), f.split)
    print(f.out)
    print(
        f"{made.dataset}/{made.split}: {made.count:,} images, {made.feature_space}, "
        f"weights {made.weights_sha256[:12]}"
    )


def output(f: flags.FlagValues) -> str:
    if not f.out:
        raise UserError("--out is missing: the file to write")
    return f.out


def extractor(f: flags.FlagValues) -> Extractor:
    """The one that the flags name.

    Raises:
      UserError: none or two are named, or the file is not what it should be.
    """
    if bool(f.features) == bool(f.inception):
        raise UserError(
            "give one of --features FILE (drf features train makes it) and --inception FILE"
        )
    if f.features:
        return load_extractor(FEATURE_SPACE, f.features)
    suffix = "-tf32" if f.tf32 else ""
    return load_extractor(f"inception-{f.resize}{suffix}", f.inception)
