import jax
import numpy as np
import pytest

from drf_jax.errors import UserError
from drf_jax.evaluation.extractor import Extractor, load_extractor


def test_everyone_has_the_same_random_network_under_its_own_name():
    one, two = (load_extractor("random-inception", "") for _ in range(2))
    assert isinstance(one, Extractor) and one.feature_space == "random-inception"
    assert "random" in one.provenance["weights"]
    assert one.weights_sha256 == two.weights_sha256
    kernel = one.params["Mixed_6c"]["branch7x7_2"]["kernel"]
    assert float(kernel.std()) == pytest.approx(np.sqrt(2 / np.prod(kernel.shape[:-1])), rel=0.02)
    sums = [float(leaf.sum()) for leaf in jax.tree.leaves(one.params)]
    assert len(set(sums)) == len(sums)


def test_it_takes_no_file():
    with pytest.raises(UserError, match=r"takes no weights file, not weights\.pth"):
        load_extractor("random-inception", "weights.pth")
