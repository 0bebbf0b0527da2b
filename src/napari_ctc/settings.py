"""`TrainSettings`: every choice of a training run, in one place.

The form in the window, the flags of the command line, the JSON in a classifier file and the table in the docs
all follow from these fields. To add a setting, add a field with bounds and a one-line description.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

NetworkName = Literal["compact", "seed"]
Weighting = Literal["balanced", "effective", "logit-adjusted", "sampler", "none"]
Decision = Literal["balanced", "most-probable"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]
ChannelAxis = Literal["auto", "first", "last"]

LARGEST_BATCH = 4096  # specimens in a training step


class TrainSettings(BaseModel):
    """The settings of a training run. Frozen; a misspelt field is an error; 0 stands for "choose for me"."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    network: NetworkName = Field(
        "compact",
        description="The network: 'compact' is small and fast; 'seed' is the original script's, large and slow.",
    )
    size: int = Field(
        0,
        ge=0,
        le=1024,
        description="Side of the square that the network sees, in pixels. 0 chooses it from the specimens.",
    )
    channels: int = Field(4, ge=1, le=64, description="Number of channels of each specimen.")
    channel_axis: ChannelAxis = Field(
        "auto", description="Where the channels stand in the files: 'first', 'last', or 'auto' to find out."
    )
    weighting: Weighting = Field(
        "none",
        description="How rare classes are weighed while learning: 'none' weighs specimens alike and leaves rare "
        "classes to the decision; 'balanced' gives each class the same total weight, 'effective' a little less "
        "to rare ones, 'logit-adjusted' asks for a wider margin for rare ones, 'sampler' shows each class "
        "equally often.",
    )
    decision: Decision = Field(
        "balanced",
        description="Which class is called: 'balanced' as if all classes were equally common, which finds rare "
        "ones; 'most-probable' the one with the largest probability.",
    )
    proportions: str = Field(
        "training",
        max_length=10_000,
        description="The class proportions that probabilities are for: 'training', 'uniform', or given as "
        "'name=0.9, name=0.1'.",
    )
    epochs: int = Field(
        0, ge=0, le=10_000, description="Passes over the training specimens. 0 chooses by their number."
    )
    minutes: float = Field(
        0.0, ge=0.0, le=10_000.0, description="Time budget in minutes; the schedule ends with it. 0 sets none."
    )
    patience: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Stop after so many epochs in a row without a smaller loss on specimens held out, and keep "
        "the best epoch. 0 sets none: the last epoch is kept.",
    )
    batch_size: int = Field(0, ge=0, le=LARGEST_BATCH, description="Specimens in one training step. 0 chooses.")
    learning_rate: float = Field(
        0.002,
        ge=1e-7,
        le=1.0,
        description="Largest step size of the optimiser: of AdamW, and a twentieth of that of Muon.",
    )
    weight_decay: float = Field(
        0.01, ge=0.0, le=1.0, description="How strongly the optimiser (AdamW and Muon) pulls weights towards zero."
    )
    augment: bool = Field(
        True,
        description="Show each training specimen turned, flipped, shifted, brighter or darker, and noisier, at "
        "random.",
    )
    channel_dropout: float = Field(
        0.0,
        ge=0.0,
        le=0.5,
        description="Share of specimens shown with one channel blank, as if a stain had failed. Needs 'augment'.",
    )
    averaging: bool = Field(
        True, description="Keep a running average of the weights, which is steadier than the last step's."
    )
    label_smoothing: float = Field(
        0.0,
        ge=0.0,
        le=0.3,
        description="Share of each label that is spread over all classes, by how common they are.",
    )
    validation_fraction: float = Field(
        0.2,
        ge=0.05,
        le=0.5,
        description="Share of the training specimens held out, to score and calibrate the classifier.",
    )
    accept_classifier_labels: bool = Field(
        False, description="Also train on labels that a classifier gave (rows with by=classifier)."
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of every random choice of the run.")
    device: Device = Field(
        "auto", description="Where to compute: 'auto' takes a CUDA GPU when there is one, else the processor."
    )
    precision: Precision = Field(
        "auto",
        description="Number format of the network's arithmetic: 'float32', 'bfloat16', or 'auto' for the one that "
        "a short trial finds faster here.",
    )
    threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Processor cores to train on. 0 chooses: all, but fewer while other programs keep them busy "
        "and fewer are faster. The last digits of a result depend on their number.",
    )
