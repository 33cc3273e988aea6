"""Images per second through the FID Inception: this library beside pytorch-fid, on the same device in the same run.

    pip install torch torchvision pytorch-fid
    python experiments/inception_throughput.py                  writes results/inception_throughput.json

Both networks get the same deterministic weights (drawn by tensor name, so nothing is downloaded) and the same uint8
images 32×32 from host memory; what is timed is transfer, resize to 299 and the network, until the features are back on
the host. The features must agree before anything is timed. Both run in full float32 (our default) and with TF32
convolutions (pytorch-fid's default).
"""

import argparse
import json
import sys
import time
import zlib
from pathlib import Path

import jax
import numpy as np

from drf_jax.evaluation.digest import params_digest
from drf_jax.evaluation.inception import Inception
from drf_jax.evaluation.report import write_results
from drf_jax.networks.inception import inception_params


def recipe(golden: Path) -> dict[str, np.ndarray]:
    """Weights by name, as `tests/golden/inception.npz` describes set g2."""
    stored = np.load(golden)
    pairs = zip(stored["names"], stored["shapes"], strict=True)
    return {str(name): draw(str(name), tuple(json.loads(str(shape)))) for name, shape in pairs}


def draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    z = np.random.Generator(np.random.Philox(key=zlib.crc32(name.encode()))).standard_normal(shape)
    if name.endswith(("conv.weight", "fc.weight")):
        z = z * np.sqrt(2 / np.prod(shape[1:]))
    elif name.endswith("running_var"):
        z = 1 + 0.1 * np.abs(z)
    elif name.endswith("bn.weight"):
        z = 1 + 0.1 * z
    else:
        z = 0.1 * z
    return z.astype(np.float32)


def peer(weights: dict[str, np.ndarray]):
    """pytorch-fid's network with these weights instead of a download, as images uint8 -> features."""
    import torch
    from pytorch_fid import inception

    state = {name: torch.from_numpy(value) for name, value in weights.items()}
    inception.load_state_dict_from_url = lambda *_, **__: state
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = inception.InceptionV3([3]).eval().to(device)

    @torch.inference_mode()
    def extract(images, batch_size):
        out = []
        for start in range(0, len(images), batch_size):
            part = torch.from_numpy(images[start : start + batch_size]).to(device)
            out.append(network(part.permute(0, 3, 1, 2).float() / 255)[0].flatten(1))
        return torch.cat(out).cpu().numpy()

    return extract


def precision(tf32: bool) -> None:
    import torch

    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True


def rate(extract, images, batch_size, repeats):
    """Best of ``repeats`` timings, images per second."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        extract(images, batch_size)
        seconds.append(time.perf_counter() - start)
    return len(images) / min(seconds)


def main(golden: Path, out: Path, count: int, batches: list[int], repeats: int) -> int:
    weights = recipe(golden)
    params = jax.tree.map(jax.numpy.asarray, inception_params(weights))
    facts = {"weights_sha256": params_digest(params), "provenance": {}}
    ours, ours_tf32 = (
        Inception(params=params, resize="pytorch-fid", precision=name, **facts).extract
        for name in ("float32", "tf32")
    )
    theirs = peer(weights)
    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    precision(False)
    few = images[:32]
    gap = np.abs(ours(few, 32) - theirs(few, 32)).max() / np.abs(theirs(few, 32)).max()
    print(f"features differ by {gap:.1e} of the largest")
    if gap > 1e-3:
        return 1
    lines = []
    for batch_size in batches:
        line = {"batch": batch_size, "images": count}
        for name, extract, tf32 in (
            ("drf_jax float32", ours, False),
            ("pytorch-fid float32", theirs, False),
            ("drf_jax tf32", ours_tf32, True),
            ("pytorch-fid tf32", theirs, True),
        ):
            precision(tf32)
            extract(images[: 2 * batch_size], batch_size)  # compile, choose algorithms
            line[name] = round(rate(extract, images, batch_size, repeats), 1)
        lines.append(line)
        print(json.dumps(line), flush=True)
    measured = {"images_per_second": lines, "feature_gap": float(gap)}
    write_results(
        out, [], {"repeats": repeats}, "python experiments/inception_throughput.py", measured
    )
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, default=Path("tests/golden/inception.npz"))
    parser.add_argument("--out", type=Path, default=Path("results/inception_throughput.json"))
    parser.add_argument("--images", type=int, default=8192)
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--repeats", type=int, default=3)
    a = parser.parse_args()
    sys.exit(main(a.golden, a.out, a.images, a.batches, a.repeats))
