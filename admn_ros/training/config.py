# SPDX-License-Identifier: Apache-2.0
"""Configuration that all training stages share: data, optimizer, task loss.

The configuration of a stage itself is in the file of the stage. Defaults are those of the paper's Section A.1 and
Table 13.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from admn_ros.config import LARGEST_COUNT, Count, NotNegative, Positive, Strict
from admn_ros.datasets.open import DatasetKind
from admn_ros.sensing.corruption.presets import CORRUPTIONS

Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Whole = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class DataConfig(Strict):
    """Samples of a run, and their corruption.

    Attributes:
        source: kind of the dataset, a key of `admn_ros.datasets.open.READERS`. shards: a folder of
            `admn simulate --dataset` or of `admn convert bag`; gdtm, gdtm_doppler (radar as range-Doppler), gdtm_cache,
            ave_cache, image_folder, audio_folder: a folder with one folder per split; mmfi, mmfi_224 (images
            resized to 224 x 224 as in mmfi_cache, so that noise is as in the paper), mmfi_cache, ave: the folder of the
            dataset.
        folder: folder of the dataset; `--data` overrides it.
        train: training split.
        validation: validation split.
        corruption: preset of `admn_ros.sensing.corruption.presets`; null for no corruption.
        variant: the preset as described in the paper, or as in the official code, which draws otherwise for the
            controller than for finetuning.
        windows: windows of the training clips (MM-Fi): the first of each, or a random one in every epoch, as in the
            official code.
        repeats: occurrences of each sample in an epoch, each with another corruption.
        clean_epochs: first epochs without corruption (5 in the official code for Gaussian noise).
        draws: number of different corruptions of a sample, used cyclically over the epochs, so that `cache_mb` can keep
            them; null draws anew in every epoch.
        limit: maximum number of samples of each split, evenly spread over it; null for all.
        validation_limit: maximum number of validation samples; null for all.
        cache_mb: memory for preprocessed tensors of repeated draws, in MiB.
        workers: worker processes for preprocessing; 0 preprocesses in the training process. What they prepare for
            repeated draws goes to the cache of the training process, once per draw.
    """

    source: DatasetKind = "shards"
    folder: str | None = None
    train: str = "train"
    validation: str = "val"
    corruption: str | None = None
    variant: Literal["paper", "code"] = "paper"
    windows: Literal["first", "random"] = "first"
    repeats: Count = 1
    clean_epochs: Whole = 0
    draws: Count | None = None
    limit: Count | None = None
    validation_limit: Count | None = None
    cache_mb: Whole = 0
    workers: Annotated[int, Field(ge=0, le=256)] = 0

    @field_validator("corruption")
    @classmethod
    def _corruption_is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in CORRUPTIONS:
            raise ValueError(f"must be one of {', '.join(CORRUPTIONS)}")
        return name


class OptimizerConfig(Strict):
    """Adam, its learning-rate schedule, and which weights a run keeps.

    Attributes:
        learning_rate: peak learning rate.
        schedule: shape after warm-up: constant, or a linear or cosine decay to `final`.
        final: final learning rate, as a fraction of `learning_rate`.
        warm_up_epochs: epochs of linear warm-up from 0.
        batch: samples per step, summed over all processes.
        epochs: passes over the training split.
        clip_norm: maximum gradient norm; null disables clipping.
        betas: decay rates of Adam's first and second moments.
        weight_decay: decoupled weight decay (AdamW) of matrices and kernels; biases, norms and tokens have none.
        precision: bfloat16 and float16 run the network under autocast; weights and losses stay float32. In float16 the
            loss is scaled, and a step whose gradients overflow is skipped.
        keep: epoch whose weights the run ends with: the last or the best one.
        best_of: validation metric that selects the best epoch, such as val/full/error_m. Accuracies are maximized, all
            other metrics minimized; the first of equal epochs wins.
        patience: number of epochs without improvement of `best_of` after which training stops; null trains to the end.
        seed: seed of the run: initial weights, order of samples, corruption, dropped layers, noise.
    """

    learning_rate: Positive = 5e-4
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    final: Share = 0.0
    warm_up_epochs: Whole = 0
    batch: Count = 32
    epochs: Count = 200
    clip_norm: Positive | None = None
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    weight_decay: NotNegative = 0.0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    keep: Literal["last", "best"] = "last"
    best_of: Annotated[str, Field(pattern=r"^val/.")] | None = None
    patience: Count | None = None
    seed: Seed = 100

    @model_validator(mode="after")
    def _metric_is_named(self) -> OptimizerConfig:
        if self.best_of is None and (self.keep == "best" or self.patience is not None):
            raise ValueError("keep: best and patience require best_of, the validation metric to compare")
        return self


class LossConfig(Strict):
    """Weights of the parts of the task loss; 0 disables a part.

    Attributes:
        nll: weight of the negative log-likelihood of the position, natural logarithm, in metres.
        distance_per_cm: weight of the distance between mean and target, per centimetre (0.05 in the official code,
            which works in centimetres; its NLL differs from this one by a constant).
        classification: weight of the cross-entropy of the class.
        evidence: weight of the mean NLL of each input's own estimate, for models with localization of kind evidence.
            Not in the paper. With it every input learns from every sample.
    """

    nll: NotNegative = 1.0
    distance_per_cm: NotNegative = 0.05
    classification: NotNegative = 1.0
    evidence: NotNegative = 0.0

    @model_validator(mode="after")
    def _a_weight(self) -> LossConfig:
        if not self.nll + self.distance_per_cm + self.classification:
            raise ValueError("at least one weight must be above 0")
        return self
