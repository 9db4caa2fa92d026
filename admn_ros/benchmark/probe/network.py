# SPDX-License-Identifier: Apache-2.0
"""Network of a probe: one CNN for all sensor nodes, whose estimates are fused by the poses of the nodes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from admn_ros.benchmark.probe.inputs import ProbeData

BATCH = 48
_WIDTH, _POINTS, _EMBEDDING = 40, 32, 8
_AHEAD_M = 2.0     # initial estimate, in front of a node: about the middle of the track
_PRIOR = 0.1       # information of the prior position


class ProbeNet(nn.Module):
    """Network from the images of all nodes to the position of the car in `map`.

    Each node gives a position in its own frame (x towards the middle of the track, y to the left) and a 2 x 2
    information matrix, so that a bearing without range can be expressed. The estimates are transformed to `map` and
    summed as in an information filter, with the mean training position as a weak prior.

    Args:
        channels: channels of the images.
        nodes: number of sensor nodes.
        prior_m: prior position (2,), in metres.
    """

    def __init__(self, channels: int, nodes: int, prior_m: Tensor) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.BatchNorm2d(channels, affine=False), *_layer(channels, 16, 5, 2), *_layer(16, 32, 3, 2),
            *_layer(32, _WIDTH, 3, 1), *_layer(_WIDTH, _WIDTH, 3, 1))
        self.points = nn.Conv2d(_WIDTH, _POINTS, 1)
        self.embedding = nn.Embedding(nodes, _EMBEDDING)
        self.head = nn.Sequential(nn.Linear(3 * _POINTS + _WIDTH + _EMBEDDING + 2, 128), nn.ReLU(), nn.Linear(128, 5))
        self.register_buffer("prior_m", prior_m)

    def forward(self, images: Tensor, stations: Tensor) -> Tensor:
        """Estimate positions (B, 2) in metres from images (B, N, C, H, W) and node positions (B, N, 3) in metres."""
        batch, nodes = images.shape[:2]
        features = self.features(images.flatten(0, 1))
        where = torch.cat([_spots(self.points(features)), features.mean(dim=(2, 3))], dim=1)
        away = stations[..., :2].norm(dim=-1, keepdim=True)
        names = self.embedding(torch.arange(nodes)).expand(batch, -1, -1)
        pose = torch.cat([away - _AHEAD_M, stations[..., 2:]], dim=-1)
        local = self.head(torch.cat([where.view(batch, nodes, -1), names, pose], dim=-1))
        return self._fuse(local, stations[..., :2], away)

    def _fuse(self, local: Tensor, places: Tensor, away: Tensor) -> Tensor:
        forward = -places / away.clamp_min(1e-3)
        turn = torch.stack([forward, torch.stack([-forward[..., 1], forward[..., 0]], -1)], -1)
        mean = local[..., :2] + torch.cat([away, torch.zeros_like(away)], -1)
        at = places + (turn @ mean[..., None])[..., 0]
        # Cholesky factor of the information matrix: lower triangular with a positive diagonal.
        low = torch.zeros(*local.shape[:-1], 2, 2)
        low[..., 0, 0], low[..., 1, 1] = (local[..., 2:4].clamp(-6, 6) / 2).exp().unbind(-1)
        low[..., 1, 0] = local[..., 4]
        low = turn @ low
        information = low @ low.transpose(-1, -2)
        total = information.sum(1) + _PRIOR * torch.eye(2)
        weighted = (information @ at[..., None]).sum(1) + _PRIOR * self.get_buffer("prior_m")[:, None]
        return _solved(total, weighted)


@dataclass(frozen=True)
class Fit:
    """Trained probe.

    Attributes:
        net: network.
        epochs: number of finished epochs.
    """

    net: ProbeNet
    epochs: int


def fit(data: ProbeData, epochs: int, limit_s: float, seed: int, progress: Callable[[float], None]) -> Fit:
    """Train a probe: Huber loss, AdamW, one-cycle schedule over `epochs`.

    Equal data, seed and epochs give equal weights on one machine. No epoch starts after `limit_s` seconds.
    """
    began = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ProbeNet(data.images.shape[2], data.images.shape[1], data.position.mean(0))
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
        steps = math.ceil(len(data) / BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * steps, pct_start=0.15)
        done = 0
        while done < epochs and (done == 0 or time.monotonic() - began < limit_s):
            net.train()
            for number, rows in enumerate(torch.split(torch.randperm(len(data)), BATCH)):
                optimizer.zero_grad()
                loss = F.huber_loss(net(data.images[rows].float(), data.stations[rows]), data.position[rows], delta=0.3)
                torch.autograd.backward(loss)
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                progress((done + (number + 1) / steps) / epochs)
            done += 1
    return Fit(net.eval(), done)


@torch.inference_mode()
def positions(net: ProbeNet, data: ProbeData) -> Tensor:
    """Return the estimated positions (samples, 2), in metres."""
    batches = torch.split(torch.arange(len(data)), BATCH)
    return torch.cat([net(data.images[rows].float(), data.stations[rows]) for rows in batches])


def _layer(inputs: int, outputs: int, size: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def _spots(maps: Tensor) -> Tensor:
    """Return the softmax centroid of each map in [-1, 1] and its concentration: (B, K, H, W) to (B, 3 K)."""
    height, width = maps.shape[2:]
    share = maps.flatten(2).softmax(-1).view_as(maps)
    down = (share.sum(3) * torch.linspace(-1, 1, height)).sum(2)
    across = (share.sum(2) * torch.linspace(-1, 1, width)).sum(2)
    clear = share.flatten(2).square().sum(-1).log() / math.log(height * width) + 1
    return torch.cat([down, across, clear], dim=1)


def _solved(matrix: Tensor, vector: Tensor) -> Tensor:
    """Solve symmetric 2 x 2 systems, (B, 2), in closed form: LAPACK is slow for small batches."""
    a, b, d = matrix[:, 0, 0], matrix[:, 0, 1], matrix[:, 1, 1]
    x, y = vector[:, 0, 0], vector[:, 1, 0]
    return torch.stack([d * x - b * y, a * y - b * x], dim=1) / (a * d - b * b)[:, None]
