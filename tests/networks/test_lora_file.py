import jax
import jax.numpy as jnp
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.networks.lora import KERNELS, compose, init_lora, merge
from drf_jax.networks.lora_file import load_lora, save_lora

PARAMS = {"one": {"kernel": jnp.ones((4, 6))}, "two": {"kernel": jnp.ones((6, 3))}}


def deltas(seed):
    """Deltas with a B that is not zero."""
    rng = np.random.default_rng(seed)
    made = init_lora(PARAMS, KERNELS, 2, jax.random.key(0))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype), made)


def test_what_is_read_is_what_was_written(tmp_path):
    save_lora(tmp_path / "a.npz", deltas(0), 0.5)
    lora, scale = load_lora(tmp_path / "a.npz")
    jax.tree.map(np.testing.assert_array_equal, lora, deltas(0))
    assert scale == 0.5


def test_two_files_are_composed(tmp_path):
    for seed in (0, 1):
        save_lora(tmp_path / f"{seed}.npz", deltas(seed), 0.5 + seed)
    fast, style = (load_lora(tmp_path / f"{seed}.npz") for seed in (0, 1))
    both = merge(PARAMS, compose([fast, style]))
    each = merge(merge(PARAMS, *fast), *style)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), both, each)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(UserError, match=r"a\.npz does not exist"):
        load_lora(path)
    save_lora(path, deltas(0))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"a\.npz is not a whole LoRA file"):
        load_lora(path)
    save_lora(path, {"one": {"kernel": {"a": jnp.ones((4, 2))}}})
    with pytest.raises(UserError, match="each kernel needs its a and b"):
        load_lora(path)
