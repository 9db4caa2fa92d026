# SPDX-License-Identifier: Apache-2.0
"""Typed training files (`config/train/*.yaml`): the data and what each stage does with them.

A file may describe several stages; a run takes one of them. All numbers of the paper are those of
Section A.1 and Table 13.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator, model_validator

from admn_ros.config import Count, Levels, NotNegative, Positive, Strict
from admn_ros.datasets.open import DatasetKind
from admn_ros.errors import ConfigError
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.presets import CORRUPTIONS

Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Whole = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
StageName = Literal["pretrain", "finetune", "autoencoder", "controller"]
Selection = Literal["gumbel", "straight_through", "progressive", "neuralsort"]
Mode = Literal["supervised", "autoencoder", "task", "universal"]


class DataConfig(Strict):
    """Samples and what is done to them.

    source: kind of the dataset, a key of `admn_ros.datasets.open.READERS`. shards: a folder of
        `admn simulate --dataset` or of `admn convert bag`; gdtm, gdtm_cache, ave_cache, image_folder, audio_folder: a
        folder with one folder for each split; mmfi, mmfi_cache, ave: the folder of the dataset.
    folder: of the dataset; a run can name another.
    train, validation: names of splits.
    corruption: preset of `admn_ros.sensing.corruption.presets`; null for the samples as they are.
    variant: the preset as in the paper or as in the official code.
    repeats: how often each sample comes in an epoch, each time corrupted anew.
    clean_epochs: first epochs without corruption (5 in the official code for Gaussian noise).
    draws: corruptions are drawn so many times and then come again in turn, which lets `cache_mb` keep
        them; null draws anew in every epoch.
    limit: at most so many samples of each split, evenly spread over it; null for all.
    validation_limit: the same of the validation split alone.
    cache_mb: memory for preprocessed tensors. Those of repeated draws are made once, up to this size.
    workers: processes that preprocess; 0 does it in the training process. They have no cache.
    """

    source: DatasetKind = "shards"
    folder: str | None = None
    train: str = "train"
    validation: str = "val"
    corruption: str | None = None
    variant: Literal["paper", "code"] = "paper"
    repeats: Count = 1
    clean_epochs: Whole = 0
    draws: Count | None = None
    limit: Count | None = None
    validation_limit: Count | None = None
    cache_mb: Whole = 0
    workers: Whole = 0

    @field_validator("corruption")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in CORRUPTIONS:
            raise ValueError(f"must be one of {', '.join(CORRUPTIONS)}")
        return name


class OptimizerConfig(Strict):
    """Adam and its schedule.

    learning_rate: at the top of the schedule.
    schedule: after warm-up constant, or falling to `final` of the rate, linearly or as a cosine.
    warm_up_epochs: the rate rises linearly from 0.
    batch: samples per step, of all processes together. epochs: passes over the training split.
    clip_norm: largest norm of the gradient; null for any.
    betas: decay of Adam's two moments.
    weight_decay: decoupled from the gradient (AdamW); of matrices and kernels, not of biases, norms and tokens.
    precision: bfloat16 runs the network under autocast; weights and losses stay float32.
    keep: the weights that the run ends with, those of its last epoch or of its best.
    best_of: validation figure that says which epoch is best, such as val/full/error_m: the highest of an
        accuracy, the lowest of anything else, the first of equals.
    patience: stop when so many epochs have passed since the best; null goes on to the last.
    seed: of everything that a run draws: first weights, order, corruption, dropped layers, noise.
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
    precision: Literal["float32", "bfloat16"] = "float32"
    keep: Literal["last", "best"] = "last"
    best_of: Annotated[str, Field(pattern=r"^val/.")] | None = None
    patience: Count | None = None
    seed: Seed = 100

    @model_validator(mode="after")
    def _best_of_something(self) -> OptimizerConfig:
        if self.best_of is None and (self.keep == "best" or self.patience is not None):
            raise ValueError("keep best and patience need best_of, the validation figure that says what is best")
        return self


class LossConfig(Strict):
    """Weights of the task loss; 0 leaves a part out.

    nll: of the position's Gaussian, natural logarithm, metres.
    distance_per_cm: of the distance between mean and target in centimetres (0.05 in the official code,
        which works in centimetres; the NLL differs from ours by a constant only).
    classification: of the class cross-entropy.
    evidence: of the mean NLL of what each input alone says (models with localization of kind evidence). Ours: each
        input learns from every sample, not only from those where the others leave something to say.
    """

    nll: NotNegative = 1.0
    distance_per_cm: NotNegative = 0.05
    classification: NotNegative = 1.0
    evidence: NotNegative = 0.0

    @model_validator(mode="after")
    def _something(self) -> LossConfig:
        if not self.nll + self.distance_per_cm + self.classification:
            raise ValueError("at least one weight must be above 0")
        return self


class MaskedDecoderConfig(Strict):
    """Decoder of masked pre-training, thrown away after it. He et al. 2022: 8 layers, 512 wide, 16 heads."""

    dim: Annotated[int, Field(ge=4, multiple_of=4)] = 512
    depth: Count = 8
    heads: Count = 16

    @model_validator(mode="after")
    def _heads_divide(self) -> MaskedDecoderConfig:
        if self.dim % self.heads:
            raise ValueError(f"heads {self.heads} does not divide dim {self.dim}")
        return self


class AugmentConfig(Strict):
    """What pre-training does to readings, drawn anew in every epoch. Radar stays as it is: its axes mean something.

    smallest_crop: pictures and depth are cut to a share of their area from this to 1, at 3/4 to 4/3 of the aspect
        of the model's input; 1 leaves them whole.
    flip: mirror half of the pictures and depth images.
    gain_db: sound is made louder or softer by up to this. Of a recording longer than the model's window a random
        piece is taken.
    """

    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 0.2
    flip: bool = True
    gain_db: NotNegative = 6.0


class PretrainConfig(Strict):
    """Stage 0, masked autoencoding with LayerDrop in the encoder (Section 3.3.2).

    modalities: whose backbones are trained; none named: all of the model.
    layerdrop: rate at which each layer of the encoder is dropped, drawn per batch and modality; never all.
    mask: share of patches that are hidden; where absent 0.75, and 0.8 for audio (He et al. 2022; Huang et al. 2022).
    normalize: the target is each patch's pixels with mean 0 and variance 1, or the pixels as they are.
    variance_floor: added to the variance of a patch that is normalized: a flat patch's noise is then no target.
    positions: of the encoder; sincos: set to the fixed code of MAE, not trained; keep: go on with the model's own.
    decoder: of each modality.
    augment: of training samples.
    copies: other backbone -> the pre-trained one whose weights it gets at the end, as depth from rgb in the paper.
    """

    optimizer: OptimizerConfig = OptimizerConfig(schedule="cosine", warm_up_epochs=40, betas=(0.9, 0.95),
                                                 weight_decay=0.05, epochs=800)
    modalities: tuple[Modality, ...] = ()
    layerdrop: Rate = 0.2
    mask: dict[Modality, Annotated[float, Field(gt=0, lt=1)]] = Field(default={})
    normalize: bool = True
    variance_floor: Positive = 1e-6
    positions: Literal["sincos", "keep"] = "sincos"
    decoder: MaskedDecoderConfig = MaskedDecoderConfig()
    augment: AugmentConfig = AugmentConfig()
    copies: dict[Modality, Modality] = Field(default={})

    def masked(self, modality: Modality) -> float:
        """Share of a modality's patches that are hidden."""
        return self.mask.get(modality, 0.8 if modality is Modality.AUDIO else 0.75)


class FinetuneConfig(Strict):
    """Stage 1, LayerDrop finetuning (Section 3.3.2).

    layerdrop: rate at which each layer is dropped, drawn per batch and modality.
    ramp_epochs: the rate rises linearly from 0 to `layerdrop` over these epochs; 0: full from the start.
    keep_first_layer: the first layer of a modality that runs is never dropped, as the allocator has it
        (Section A.7). False drops it like any other (the official code), but never all layers.
    full_backbone_dropout: probability that a modality is left with its first layer alone, which is the
        least that the allocator gives (Section 3.3.2; Table 13 "modality dropout").
    modality_dropout: probability that a modality is absent altogether: no token of it in the fusion.
        Ours: the allocator drops whole modalities at the smallest budgets, and sensors die.
    solo: probability of each modality that a batch shows it alone; otherwise modalities are absent as above. Ours: what
        learns last, such as where a small car is in a picture, never learns beside those that already know.
    sensor_dropout: probability that a modality is absent at a sensor node, drawn for each sample. Ours: single
        sensors die, and what is absent is not computed.
    trainable_blocks: last layers of each backbone that are trained; the rest of the backbone is frozen,
        embedding and norm too. "all" trains everything.
    """

    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    layerdrop: Rate = 0.2
    ramp_epochs: Whole = 0
    keep_first_layer: bool = True
    full_backbone_dropout: Share = 0.1
    modality_dropout: Rate = 0.1
    solo: dict[Modality, Share] = Field(default={})
    sensor_dropout: Rate = 0.0
    trainable_blocks: Literal["all"] | dict[Modality, Whole] = "all"
    budgets: tuple[Count, ...] = ()

    @model_validator(mode="after")
    def _shares(self) -> FinetuneConfig:
        if sum(self.solo.values()) > 1:
            raise ValueError(f"solo: probabilities that sum to at most 1, not {sum(self.solo.values()):g}")
        return self


class AutoencoderConfig(Strict):
    """Initialisation of the controller's perceptual part without labels (Section 3.4.2).

    channels: of the deconvolutions.
    """

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, schedule="linear", final=0.001, epochs=100)
    channels: Count = 32


class ControllerConfig(Strict):
    """Stage 2, the controller on the frozen network (Section 3.4.2).

    mode: supervised: task and corruption loss; task: task loss alone; autoencoder: task loss alone, the
        perceptual part of an autoencoder run stays frozen; universal: as supervised, each batch with a
        budget drawn from `budgets` (Section A.1).
    budgets: layers of all modalities together, first layers included; one, unless universal.
    corruption: regression: |predicted - severity|. categories: cross-entropy between K classes of severity, for
        corruption that is only known by its kind or grade.
    corruption_levels: of each modality the ascending severities of its classes; a sample is of the nearest one.
    corruption_weight: of each modality's corruption loss; 1 where absent.
    corruption_epochs: first epochs with the corruption loss alone.
    fresh: begin with new weights of the controller, drawn by the seed, in place of the model's. Some weights to begin
        with never learn a modality: its `corruption` then stays where it is. Another seed does.
    selection, tau: how layers are chosen in training (`admn_ros.training.stages.layer_sampling`).
    tau_final: tau falls exponentially to this over the epochs; null keeps it.
    """

    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=1e-3, schedule="linear", final=0.01, epochs=10)
    loss: LossConfig = LossConfig()
    mode: Mode = "supervised"
    budgets: tuple[Count, ...] = Field(min_length=1)
    corruption: Literal["regression", "categories"] = "regression"
    corruption_levels: dict[Modality, Levels] = Field(default={})
    corruption_weight: dict[Modality, NotNegative] = Field(default={})
    corruption_epochs: Whole = 1
    fresh: bool = False
    selection: Selection = "gumbel"
    tau: Positive = 1.0
    tau_final: Positive | None = None

    @model_validator(mode="after")
    def _one_budget(self) -> ControllerConfig:
        if self.mode != "universal" and len(self.budgets) != 1:
            raise ValueError(f"mode {self.mode} takes one budget, not {len(self.budgets)}; universal takes several")
        return self

    @model_validator(mode="after")
    def _levels(self) -> ControllerConfig:
        if bool(self.corruption_levels) != (self.corruption == "categories"):
            raise ValueError("corruption categories need corruption_levels, and regression has none")
        if self.corruption_levels and not self.supervised:
            raise ValueError(f"mode {self.mode} has no corruption loss; categories need supervised or universal")
        return self

    @model_validator(mode="after")
    def _perceives(self) -> ControllerConfig:
        if self.fresh and self.mode == "autoencoder":
            raise ValueError("mode autoencoder keeps what the autoencoder learned; fresh forgets it")
        return self

    @property
    def supervised(self) -> bool:
        """Whether corruption labels are used."""
        return self.mode in ("supervised", "universal")


class TrainConfig(Strict):
    """A training file.

    model: preset of `admn_ros.model.presets` to begin from with random weights, when a run names no
        model folder. Later stages begin from the model folder of an earlier one.
    """

    model: str | None = None
    data: DataConfig
    pretrain: PretrainConfig | None = None
    finetune: FinetuneConfig | None = None
    autoencoder: AutoencoderConfig | None = None
    controller: ControllerConfig | None = None

    @model_validator(mode="after")
    def _a_stage(self) -> TrainConfig:
        if all(getattr(self, stage) is None for stage in get_args(StageName)):
            raise ValueError(f"at least one of {', '.join(get_args(StageName))}")
        return self

    def optimizer(self, stage: StageName) -> OptimizerConfig:
        """Optimizer of a stage.

        Raises:
            ConfigError: the file does not describe the stage.
        """
        part: PretrainConfig | FinetuneConfig | AutoencoderConfig | ControllerConfig | None = getattr(self, stage)
        if part is None:
            there = [name for name in get_args(StageName) if getattr(self, name) is not None]
            raise ConfigError("stage", stage, f"{', '.join(there)}, which the training file describes")
        return part.optimizer
