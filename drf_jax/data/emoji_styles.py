"""The four styles of emoji: which published files each is drawn from, and under which licence."""

from dataclasses import dataclass

from drf_jax.data.npm import Package


@dataclass(frozen=True)
class Style:
    """One designer's drawings: files of a package, named by code point."""

    name: str
    package: Package
    files: str
    licence: str


STYLES = (
    Style(
        "noto",
        Package(
            "emoji-datasource-google",
            "16.0.0",
            "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
        ),
        r"package/img/google/64/.*\.png",
        "Apache-2.0, Noto Emoji by Google",
    ),
    Style(
        "twemoji",
        Package(
            "emoji-datasource-twitter",
            "16.0.0",
            "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
        ),
        r"package/img/twitter/64/.*\.png",
        "CC-BY-4.0, Twemoji by Twitter and contributors",
    ),
    Style(
        "openmoji",
        Package(
            "openmoji",
            "17.0.0",
            "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68",
        ),
        r"package/color/svg/.*\.svg",
        "CC-BY-SA-4.0, OpenMoji by the OpenMoji contributors",
    ),
    Style(
        "fluent",
        Package(
            "@lobehub/fluent-emoji-3d",
            "1.1.0",
            "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
        ),
        r"package/assets/.*\.webp",
        "MIT, Fluent Emoji by Microsoft",
    ),
)
NAMES = (STYLES[2].package, "package/data/openmoji.json")
"""The package and the file with the names."""
