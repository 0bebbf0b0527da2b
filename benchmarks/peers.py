"""The runs that `time_to_result.py` compares, a process each: `python benchmarks/peers.py NAME TABLE`.

script    The script that this project began with, mended only where it must be to learn: cross-entropy on raw
          scores, learning rate 1e-4, balanced weights. Its network, its way through an RGBA picture and its random
          crops are its own; the transforms are rewritten in Pillow.
resnet18  A plain ResNet-18 (He et al. 2016) with the usual recipe: AdamW at 1e-3, half a cosine, flips.
ours      `napari_ctc.train` through its public name, saying when each epoch ended.

Each prints a line of JSON after each epoch, with the balanced accuracy on the specimens held out, as soon as it
is known. Who reads the lines takes the time, so that all are timed from the start of their process.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

SIZE = 224  # pixels
BATCH = 32
WORKERS = 2
TYPED_MEAN, TYPED_SD = (0.078, 0.083, 0.086, 0.55), (0.106, 0.085, 0.121, 0.105)  # as in the script: typed in
DEGREES = 30

Rows = list[tuple[Path, int]]
Change = Callable[[np.ndarray], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("name", choices=("script", "resnet18", "ours"))
    parser.add_argument("table", type=Path, help="a manifest whose rows are marked train and validation")
    parser.add_argument("--test", type=Path, help="a manifest to score on afterwards")
    parser.add_argument("--epochs", type=int, default=5, help="for script and resnet18")
    parser.add_argument("--most-seconds", type=float, default=math.inf, help="begin no epoch after so long")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", type=json.loads, default={}, help="for ours: JSON of TrainSettings")
    parser.add_argument("--stop-at", type=float, default=math.inf, help="for ours: stop at this balanced accuracy")
    parser.add_argument("--out", type=Path, help="for ours: where to save the classifier")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    {"script": script, "resnet18": resnet18, "ours": ours}[arguments.name](arguments)


def say(**figures: object) -> None:
    print(json.dumps(figures), flush=True)


# ------------------------------------------------------------------------------------------ the script


def script(arguments: argparse.Namespace) -> None:
    """Train as the script did, on 8-bit RGBA pictures."""
    from napari_ctc.learn.networks import seed

    parts = read_table(arguments.table)
    network = seed(4, len(parts["classes"]), SIZE)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    fit(arguments, parts, network, optimiser, None, picture_for_training, picture_for_scoring)


def picture_for_training(specimen: np.ndarray) -> Tensor:
    """Resize, random resized crop, horizontal flip, rotation, tensor, normalise: torchvision's, in Pillow."""
    picture = Image.fromarray(specimen).resize((SIZE, SIZE), Image.Resampling.BILINEAR)  # (H, W, 4) is RGBA to it
    picture = picture.resize((SIZE, SIZE), Image.Resampling.BILINEAR, box=random_box(SIZE))
    if float(torch.rand(())) < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return to_tensor(picture.rotate(uniform(-DEGREES, DEGREES)))


def picture_for_scoring(specimen: np.ndarray) -> Tensor:
    return to_tensor(Image.fromarray(specimen).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def to_tensor(picture: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float() / 255  # (4, H, W)
    return (pixels - torch.tensor(TYPED_MEAN)[:, None, None]) / torch.tensor(TYPED_SD)[:, None, None]


def random_box(side: int) -> tuple[int, int, int, int]:
    """Choose 8 to 100 % of the area, 3:4 to 4:3, as RandomResizedCrop does; left, upper, right, lower."""
    for _ in range(10):
        area = side**2 * uniform(0.08, 1)
        ratio = math.exp(uniform(math.log(3 / 4), math.log(4 / 3)))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= side and 0 < height <= side:
            left = int(torch.randint(side - width + 1, ()))
            upper = int(torch.randint(side - height + 1, ()))
            return left, upper, left + width, upper + height
    return 0, 0, side, side


def uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))  # torch's numbers differ between the loader's workers


# ------------------------------------------------------------------------------------------- ResNet-18


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
            nn.Conv2d(outside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, images: Tensor) -> Tensor:
        """(B, inside, H, W) to (B, outside, H / stride, W / stride)."""
        return torch.relu(self.convolutions(images) + self.shortcut(images))


def resnet_of_18(channels: int, classes: int) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    for inside, outside, stride in ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)):
        layers += [BasicBlock(inside, outside, stride), BasicBlock(outside, outside, 1)]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))
    for one in network.modules():
        if isinstance(one, nn.Conv2d):
            nn.init.kaiming_normal_(one.weight, mode="fan_out", nonlinearity="relu")
    return network


def resnet18(arguments: argparse.Namespace) -> None:
    """Train a plain ResNet-18: AdamW at 1e-3 with half a cosine, flips, mean and SD of the training specimens."""
    parts = read_table(arguments.table)
    mean, sd = measured(parts["train"])

    def for_scoring(specimen: np.ndarray) -> Tensor:
        return (torch.from_numpy(specimen).permute(2, 0, 1).contiguous().float() - mean) / sd

    def for_training(specimen: np.ndarray) -> Tensor:
        flips = [axis for axis in (1, 2) if float(torch.rand(())) < 0.5]
        return for_scoring(specimen).flip(flips)

    network = resnet_of_18(4, len(parts["classes"]))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, arguments.epochs)
    fit(arguments, parts, network, optimiser, schedule, for_training, for_scoring)


def measured(rows: Rows) -> tuple[Tensor, Tensor]:
    """Measure the mean and SD of each channel, (4, 1, 1) each."""
    sums, squares, count = np.zeros(4), np.zeros(4), 0
    for path, _ in rows:
        pixels = np.load(path).reshape(-1, 4).astype(np.float64)
        sums, squares, count = sums + pixels.sum(0), squares + (pixels**2).sum(0), count + len(pixels)
    mean = sums / count
    sd = np.sqrt(squares / count - mean**2)
    return torch.tensor(mean).float()[:, None, None], torch.tensor(sd).float()[:, None, None]


# ----------------------------------------------------------------------------------- what peers share


class Specimens(Dataset):
    """Specimens read from their files one by one."""

    def __init__(self, rows: Rows, change: Change) -> None:
        self.rows, self.change = rows, change

    def __len__(self) -> int:
        """Return their number."""
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        """Give one as (4, H, W) float32, and its class."""
        path, label = self.rows[row]
        return self.change(np.load(path)), label


def read_table(table: Path, classes: list[str] | None = None) -> dict:
    """Read a manifest into lists of (path, class), one for each mark in its column split ("" for none)."""
    with table.open(newline="") as file:
        lines = list(csv.DictReader(file))
    classes = classes or sorted({line["label"] for line in lines})
    parts: dict = {"classes": classes}
    for line in lines:
        row = (table.parent / line["path"], classes.index(line["label"]))
        parts.setdefault(line.get("split", ""), []).append(row)
    return parts


def fit(arguments, parts, network, optimiser, schedule, for_training: Change, for_scoring: Change) -> None:
    """Train with balanced weights, score after each epoch, and score the best epoch on the test specimens."""
    begun = time.perf_counter()
    classes = parts["classes"]
    counts = np.bincount([label for _, label in parts["train"]], minlength=len(classes))
    loss_of = nn.CrossEntropyLoss(weight=torch.tensor(counts.sum() / (len(classes) * counts)).float())
    training = DataLoader(Specimens(parts["train"], for_training), BATCH, shuffle=True, num_workers=WORKERS)
    validation = DataLoader(Specimens(parts["validation"], for_scoring), BATCH, num_workers=WORKERS)
    best, kept = -1.0, {}
    for epoch in range(1, arguments.epochs + 1):
        if time.perf_counter() - begun > arguments.most_seconds:
            break
        network.train()
        for pixels, truth in training:
            optimiser.zero_grad()
            loss = loss_of(network(pixels), truth)
            loss.backward()
            optimiser.step()
        if schedule is not None:
            schedule.step()
        accuracy, _ = balanced_accuracy(network, validation, len(classes))
        say(epoch=epoch, balanced_accuracy=accuracy, loss=float(loss.detach()))
        if accuracy > best:
            best, kept = accuracy, copy.deepcopy(network.state_dict())
    say(ended=True)
    if arguments.test:
        network.load_state_dict(kept)
        rows = read_table(arguments.test, classes)[""]
        tested = DataLoader(Specimens(rows, for_scoring), BATCH, num_workers=WORKERS)
        accuracy, found = balanced_accuracy(network, tested, len(classes))
        say(test_balanced_accuracy=accuracy, test_found=found)


def balanced_accuracy(network: nn.Module, loader: DataLoader, classes: int) -> tuple[float, list[str]]:
    """Give the mean recall, and how many of each class were found."""
    network.eval()
    confusion = np.zeros((classes, classes), int)
    with torch.no_grad():
        for pixels, truth in loader:
            np.add.at(confusion, (truth.numpy(), network(pixels).argmax(1).numpy()), 1)
    found, counts = np.diagonal(confusion), confusion.sum(1)
    there = counts > 0
    told = [f"{one} of {all_}" for one, all_ in zip(found, counts, strict=True)]
    return float((found[there] / counts[there]).mean()), told


# ------------------------------------------------------------------------------------------------ ours


def ours(arguments: argparse.Namespace) -> None:
    """Train as `napari-ctc train` does, and say when each epoch ended; a stop is what a person's Stop does."""
    from napari_ctc import Manifest, TrainSettings, evaluate, run, train
    from napari_ctc.errors import Stopped
    from napari_ctc.events import EpochDone

    settings = TrainSettings(**{"seed": arguments.seed, **arguments.settings})
    job = train(Manifest.read(arguments.table), settings, arguments.out)
    try:
        event = next(job)
        while True:
            enough = False
            if isinstance(event, EpochDone):
                say(epoch=event.epoch, balanced_accuracy=event.scores.balanced_accuracy, loss=event.training_loss)
                enough = event.scores.balanced_accuracy >= arguments.stop_at
            event = job.throw(Stopped()) if enough else next(job)
    except StopIteration as end:
        classifier = end.value
    say(ended=True)
    if arguments.test:
        scores = run(evaluate(classifier, Manifest.read(arguments.test))).scores
        found = [f"{one} of {all_}" for one, all_ in zip(scores.found, scores.counts, strict=True)]
        say(test_balanced_accuracy=scores.balanced_accuracy, test_found=found)


if __name__ == "__main__":
    main()
