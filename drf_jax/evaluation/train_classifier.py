"""Trains the classifier whose features measure FD: Adam, cosine decay, cross-entropy, small shifts.

At the end the features are scaled so that their variances over the training images sum to their
number, which leaves the logits as they are and gives FD the same unit for every classifier.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from tqdm import tqdm

from drf_jax import __version__
from drf_jax.data.image import to_model
from drf_jax.data.source import Source, take
from drf_jax.errors import UserError
from drf_jax.evaluation.features import Classifier
from drf_jax.networks.classifier import ClassifierNetwork, rescale_features
from drf_jax.typing import Params, PRNGKey

LINES = 10
"""That tell how far a training is, where there is no terminal for a bar."""


def train_classifier(
    source: Source,
    seed: int,
    *,
    steps: int = 600,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    held_out: float = 1 / 6,
) -> Classifier:
    """Train on a random part of the source and score the rest.

    Args:
      source: the labelled images; held in memory.
      seed: of the split, the initial parameters, the batches and the shifts.
      steps: number of updates, at least 1.
      batch_size: images an update.
      learning_rate: its highest value, where it starts.
      held_out: part of the source that is not trained on, 0 < held_out < 1.

    Returns:
      The classifier; ``provenance["accuracy"]`` is that on the held-out images.

    Raises:
      UserError: the split leaves no images on one side, or there are no steps.
    """
    cut = round(held_out * len(source))
    if not 0 < cut < len(source):
        raise UserError(f"held_out {held_out} of {len(source)} images leaves one side empty")
    if steps < 1:
        raise UserError(f"classifier steps {steps} must be at least 1")
    split_key, init_key, step_key = jax.random.split(jax.random.key(seed), 3)
    order = np.asarray(jax.random.permutation(split_key, len(source)))
    seen, seen_labels = take(source, order[cut:])
    unseen, unseen_labels = take(source, order[:cut])
    images, labels = jnp.asarray(seen), jnp.asarray(seen_labels)

    network = ClassifierNetwork(source.num_classes)
    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    params = network.init(init_key, jnp.zeros((1, *source.image_shape)))["params"]
    state = optimizer.init(params)

    def loss(params: Params, key: PRNGKey) -> Float[Array, ""]:
        rows_key, shift_key = jax.random.split(key)
        rows = jax.random.randint(rows_key, (batch_size,), 0, len(labels))
        logits = network.apply({"params": params}, _shift(to_model(images[rows]), shift_key))[1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()

    @jax.jit
    def update(params, state, step):
        grads = jax.grad(loss)(params, jax.random.fold_in(step_key, step))
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state

    # A Python loop: convolutions inside a scan are slow on CPUs.
    bar = tqdm(range(steps), desc="classifier", unit="update", disable=None, leave=False)
    for step in bar:
        params, state = update(params, state, step)
        if bar.disable and (step + 1) % max(1, steps // LINES) == 0:
            jax.block_until_ready(params)
            print(f"classifier: update {step + 1}/{steps}", file=sys.stderr, flush=True)

    def classifier(params: Params, **provenance: object) -> Classifier:
        return Classifier(
            params=params,
            image_shape=source.image_shape,
            num_classes=source.num_classes,
            provenance=provenance,
        )

    trained = classifier(params)
    accuracy = float((trained.classify(unseen) == unseen_labels).mean())
    features = trained.extract(seen)
    scale = float(np.sqrt(features.shape[1] / features.var(0, dtype=np.float64).sum()))
    return classifier(
        rescale_features(params, scale),
        dataset=source.name,
        seed=seed,
        steps=steps,
        accuracy=round(accuracy, 5),
        version=__version__,
    )


def _shift(images: Float[Array, "b h w c"], key: PRNGKey) -> Float[Array, "b h w c"]:
    """Shift each image by up to 1/8 of its sides, repeating the edge pixels."""
    _, h, w, c = images.shape
    reach = np.array([max(1, h // 8), max(1, w // 8), 0])
    corners = jax.random.randint(key, (len(images), 3), 0, 2 * reach + 1)
    cut = jax.vmap(lambda image, corner: jax.lax.dynamic_slice(image, corner, (h, w, c)))
    return cut(jnp.pad(images, [(0, 0), *((r, r) for r in reach)], mode="edge"), corners)
