"""Tiny specimens whose class a small network learns in seconds: a bright spot in the channel of the class."""

from pathlib import Path

import numpy as np

from napari_ctc.data.manifest import Manifest

NAMES = ("debris", "leukocyte", "tumour cell")


def draw_spot(kind: int, seed: int, side: int = 24, dtype="uint8") -> np.ndarray:
    random = np.random.default_rng([kind, seed])
    image = random.integers(20, 60, (side, side, 4))
    row, column = random.integers(3, side - 10, 2)
    image[row : row + 7, column : column + 7, kind] += 120
    return image.astype(dtype)


def write_spots(folder: Path, counts=(16, 12, 6), **options) -> Manifest:
    lines = ["path,label"]
    for kind, count in enumerate(counts):
        for seed in range(count):
            name = f"{kind}_{seed:03}.npy"
            np.save(folder / name, draw_spot(kind, seed, **options))
            lines.append(f"{name},{NAMES[kind]}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return Manifest.read(folder / "manifest.csv")
