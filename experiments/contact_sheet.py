"""The first images of a prepared data set, in one picture.

    drf data prepare emoji --data_dir ~/data
    python experiments/contact_sheet.py emoji --data_dir ~/data --out docs/pictures/emoji.png

A few seconds on any machine. The order of a prepared data set is fixed, so everyone gets the same picture.
"""

import argparse

from drf_jax.data.source import load_source, take
from drf_jax.evaluation.figure import image_grid


def main(name: str, data_dir: str, out: str, split: str, count: int, columns: int) -> None:
    """Writes the first ``count`` images of a split to ``out``."""
    source = load_source(name, data_dir=data_dir, split=split)
    images, _ = take(source, range(min(count, len(source))))
    image_grid(out, images, columns)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the data set, as it was prepared")
    parser.add_argument("--data_dir", required=True, help="where it was prepared")
    parser.add_argument("--out", required=True, help="picture to write")
    parser.add_argument("--split", default="train")
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--columns", type=int, default=16)
    main(**vars(parser.parse_args()))
