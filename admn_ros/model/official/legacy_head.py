# SPDX-License-Identifier: Apache-2.0
"""Heads and controller of the official ADMN release, with their quirks.

They serve the published checkpoints only, and are not trained. `heads.py` and `qoi.py` have those of this package.
A network without controller (stage 1) spreads its layers evenly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from admn_ros.config import LocalizationConfig, ModelConfig
from admn_ros.model.qoi import ControllerOutput, LookShape, QoiEncoder, QualityNet
from admn_ros.model.transformer import Encoder
from admn_ros.sample import Modality

CorruptionHead = Literal["severity", "lowlight", "blur", "ave"]
"""Output of the official controller: two noise levels, or corruption classes of a dataset."""

HALF_RANGE_CM = 200.0
CM_PER_M = 100.0
MAX_SEVERITY = 5.0
# Severity of each modality in each class, modalities in order. Lowlight: normal light with a saturated depth sensor,
# dim, dark. AVE: clean, audio, image, both.
LOWLIGHT = ((0.0, 1.0), (1.0, 0.0), (2.0, 0.0), (0.0, 0.0))
AVE_NOISE = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))
BLUR_CLASSES = 4
CORRUPTION_OUTPUTS: dict[CorruptionHead, int] = {"severity": 2, "lowlight": 4, "blur": 8, "ave": 4}
SPECTROGRAM_LOOK = LookShape((128, 512), (10, 10, 5), (3, 6))
"""Sizes of the convolutions of AVE's controller on a spectrogram, into which the batch norms are folded."""


class LegacyLocalizationHead(nn.Module):
    """Official Gaussian head over OptiTrack's x and z in centimetres, converted to metres in the map frame (x, -z).

    Quirks: one hidden layer is applied twice. The first of the four covariance outputs is never used. The covariance
    is C C^T + I in cm^2, so that no standard deviation is below 1 cm. The mean is (2 sigmoid - 1) * 200 cm.
    """

    mirror: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mirror", torch.tensor([1.0, -1.0]), persistent=False)
        self.shared = nn.Linear(dim, dim)
        self.mean = nn.Linear(dim, 2)
        self.covariance = nn.Linear(dim, 4)

    def forward(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Convert the fused embedding (B, dim) to mean_m (B, 2) and scale_tril_m (B, 2, 2). See `LocalizationHead`."""
        hidden = F.gelu(self.shared(F.gelu(self.shared(fused))))
        mean_cm = (2 * torch.sigmoid(self.mean(hidden)) - 1) * HALF_RANGE_CM
        _, a, b, c = self.covariance(hidden).unbind(dim=1)
        a, b = F.softplus(a), F.softplus(b)
        # Cholesky factor of C C^T + I for C = [[a, 0], [c, b]] in closed form. Mirroring y changes the sign of the
        # off-diagonal element only.
        first = torch.sqrt(a * a + 1)
        off = a * c / first
        second = torch.sqrt(c * c + b * b + 1 - off * off)
        tril_cm = torch.stack([torch.stack([first, torch.zeros_like(first)], dim=1),
                               torch.stack([-off, second], dim=1)], dim=1)
        return mean_cm * self.mirror / CM_PER_M, tril_cm / CM_PER_M


class NoLocalization(nn.Module):
    """Constant in place of localization: the centre of the area, with half of its size as standard deviation."""

    centre_m: Tensor
    half_range_m: Tensor

    def __init__(self, config: LocalizationConfig) -> None:
        super().__init__()
        low, high = torch.tensor(config.min_m), torch.tensor(config.max_m)
        self.register_buffer("centre_m", (low + high) / 2, persistent=False)
        self.register_buffer("half_range_m", (high - low) / 2, persistent=False)

    def forward(self, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Return the constants (B, D) and (B, D, D)."""
        size, axes = len(fused), len(self.centre_m)
        spread = torch.diag(self.half_range_m).expand(size, axes, axes)
        return self.centre_m.expand(size, axes), spread


class NoClassification(nn.Module):
    """Equal logits in place of classification."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, fused: Tensor) -> Tensor:
        """Return zeros (B, classes)."""
        return fused.new_zeros(len(fused), self.classes)


def even_scores(depths: Mapping[Modality, int]) -> Tensor:
    """Return constant scores (layers,) by which every budget is spread evenly over modalities and layers.

    Of each modality, the layers go from the middle outwards, first every other one and then those between, as in the
    paper's "every-other" dropout (Section 3.3.1, Table 8); the last layer goes last.
    """
    scores = []
    for place, depth in enumerate(depths.values()):
        middle = depth // 2
        inner = sorted(range(1, depth - 1), key=lambda i, m=middle: ((i - m) % 2, abs(i - m), i))  # type: ignore[misc]
        rank = {layer: len(inner) - k for k, layer in enumerate(inner)} | {0: 0, depth - 1: 0}
        scores += [-(rank[i] + place / len(depths)) for i in range(depth)]
    return torch.tensor(scores)


class LegacyController(QoiEncoder):
    """Official controller, with corruption from a sigmoid or from classes.

    Args:
        config: description of the model.
        corruption: kind of the corruption head.
        there: whether the checkpoint had a controller. The scores are otherwise those of `even_scores`.
    """

    class_severity: Tensor
    even: Tensor

    def __init__(self, config: ModelConfig, corruption: CorruptionHead, *, there: bool = True) -> None:
        super().__init__(config)
        self.corruption, self.there = corruption, there
        self.register_buffer("even", even_scores(self.depths), persistent=False)
        self.mlp_corruption = nn.Sequential(
            nn.Linear(self.dim, config.qoi.corruption_hidden), nn.ReLU(),
            nn.Linear(config.qoi.corruption_hidden, len(config.modalities) if corruption == "severity"
                      else CORRUPTION_OUTPUTS[corruption]))
        table = LOWLIGHT if corruption == "lowlight" else AVE_NOISE
        self.register_buffer("class_severity", torch.tensor(table), persistent=False)
        if Modality.AUDIO in config.modalities:
            channels = config.modalities[Modality.AUDIO].input.shape[0]
            self.stems[str(Modality.AUDIO)] = QualityNet(channels, SPECTROGRAM_LOOK, self.dim)

    def score(self, tokens: Sequence[Tensor], present: Sequence[Tensor], budget: Tensor | None) -> ControllerOutput:
        """Score the layers of every modality and estimate its corruption. See `QoiEncoder.score`."""
        e_corr = self._encode(tokens, present, budget)
        scores = self.mlp_layers(e_corr) if self.there else self.even.expand(len(e_corr), -1)
        logits = scores.split(list(self.depths.values()), dim=1)
        severity = self.severity(self.mlp_corruption(e_corr)).unbind(dim=1)
        return ControllerOutput(dict(zip(self.depths, logits, strict=True)),
                                dict(zip(self.depths, severity, strict=True)), e_corr, self.judged)

    def severity(self, raw: Tensor) -> Tensor:
        """Convert the outputs (B, K) of the corruption head to severities (B, 2).

        A noise level is 5 * sigmoid, as in the release. Classes are converted to their expected severity, which the
        release does not define; it only decides which modality is dropped if the budget is too small for both.
        """
        if self.corruption == "severity":
            return MAX_SEVERITY * torch.sigmoid(raw)
        if self.corruption == "blur":
            steps = torch.arange(BLUR_CLASSES, dtype=raw.dtype, device=raw.device)
            return (raw.view(-1, 2, BLUR_CLASSES).softmax(dim=2) * steps).sum(dim=2)
        return (raw.softmax(dim=1)[:, :, None] * self.class_severity).sum(dim=1)


class LegacyFrameController(LegacyController):
    """Official MM-Fi controller: mean of the tokens of the first three frames, without a class token."""

    FRAMES = 3

    def __init__(self, config: ModelConfig, corruption: CorruptionHead, *, there: bool = True) -> None:
        super().__init__(config, corruption, there=there)
        q = config.qoi
        self.observed = min(self.FRAMES, self.observed)
        self.encoder = Encoder(len(self.depths) * self.observed, q.dim, q.depth, q.heads, q.mlp_ratio)

    def _encode(self, seen: Sequence[Tensor], present: Sequence[Tensor], budget: Tensor | None) -> Tensor:
        """Embed the quality of the first frames (B, dim); zero if none is present. The budget is not used."""
        keep = torch.cat(list(present), dim=1)
        encoded = self.encoder(torch.cat(list(seen), dim=1), keep | ~keep.any(dim=1, keepdim=True))
        weight = keep[..., None].to(encoded.dtype)
        pooled: Tensor = (encoded * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)
        return pooled
