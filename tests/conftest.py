"""The suite runs on 8 virtual CPU devices; a single-device test uses ``jax.devices()[:1]``."""

import os

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)
