"""Draft-and-refine diffusion in JAX."""

__version__ = "0.1.0"
