# SPDX-License-Identifier: Apache-2.0
"""Fusion and heads for inference, over the inputs that ran."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from admn_ros.model.evidence import EvidenceHead
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.model.prepared.calibration import PreparedCalibration
from admn_ros.model.prepared.evidence import Floats, Gaussians, PreparedEvidence
from admn_ros.model.prepared.rows import Bools
from admn_ros.model.prepared.transformer import Affine, PreparedEncoder, gelu


class PreparedFusion(nn.Module):
    """Everything behind the adapters: `AdmnNetwork.fuse`. It is a module for the sake of forward hooks."""

    def __init__(self, network: AdmnNetwork) -> None:
        super().__init__()
        self._encoder = PreparedEncoder(network.fusion.encoder)
        head = network.localization
        self._head = (head,)  # in a tuple: its modules are no parts of this one
        modalities = len(network.config.modalities)
        self._evidence = PreparedEvidence(head, modalities) if isinstance(head, EvidenceHead) else None
        self._calibration = None if network.calibration is None else PreparedCalibration(network.calibration)
        self._class_hidden, self._class_logits = (Affine(network.classification[i]) for i in (0, 2))
        self._poses: Floats = network.poses.numpy()

    def forward(self, tokens: Tensor, present: Bools, poses: Tensor | None) -> NetworkOutput:
        """Estimate.

        Args:
            tokens: (R, dim) of the present slots, frame by frame and slots in order.
            present: (B, slots), at least one of every frame.
            poses: (B, N, 5) of the sensor nodes; None takes the model's own.
        """
        encoded, fused = self._encode(tokens, present)
        class_logits = self._class_logits(gelu(self._class_hidden(fused)))
        if self._evidence is None:
            mean_m, scale_tril_m = self._head[0](fused)
            return NetworkOutput(mean_m, scale_tril_m, class_logits)
        places = self._evidence.places(self._poses[None] if poses is None else poses.float().numpy())
        outputs = np.zeros((*present.shape, 5), np.float32)
        outputs[present] = self._evidence.outputs(encoded, places, present)
        gaussian, alone = self._evidence.fuse(outputs, present, places)
        if self._calibration is None:
            return _output(gaussian, class_logits)
        gaussian, logits = self._calibration(gaussian, alone, present, places.poses, class_logits.numpy())
        return _output(gaussian, torch.from_numpy(logits))

    def _encode(self, tokens: Tensor, present: Bools) -> tuple[Tensor, Tensor]:
        """Return the present tokens after attention (R, dim), and their mean of each frame (B, dim)."""
        size, dim = len(present), tokens.shape[1]
        counts = present.sum(axis=1)
        slots = torch.from_numpy(np.nonzero(present)[1])
        tokens = tokens + self._encoder.code[slots]
        if (counts == counts[0]).all():
            encoded = self._encoder(tokens.view(size, -1, dim))
            return encoded.reshape(-1, dim), encoded.mean(dim=1)
        here = torch.from_numpy(present)
        whole = torch.zeros(*present.shape, dim)
        whole[here] = tokens
        encoded = self._encoder(whole, here)[here]
        frames = torch.from_numpy(np.nonzero(present)[0])
        fused = torch.zeros(size, dim).index_add_(0, frames, encoded)
        return encoded, fused / torch.from_numpy(counts)[:, None]


def _output(gaussian: Gaussians, class_logits: Tensor) -> NetworkOutput:
    scale_tril_m = np.zeros((*gaussian.first.shape, 2, 2), np.float32)
    scale_tril_m[..., 0, 0], scale_tril_m[..., 1, 0], scale_tril_m[..., 1, 1] = (
        gaussian.first, gaussian.skew, gaussian.second)
    return NetworkOutput(torch.from_numpy(np.stack([gaussian.x_m, gaussian.y_m], axis=-1)),
                         torch.from_numpy(scale_tril_m), class_logits)
