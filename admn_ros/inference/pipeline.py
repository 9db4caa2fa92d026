# SPDX-License-Identifier: Apache-2.0
"""The walk of a frame without ROS: message in, estimate out.

The node and offline evaluation both run this, so that a recording gives the same numbers in either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from admn_ros.budget.budget import Budget
from admn_ros.deployment import DeploymentConfig
from admn_ros.inference.engine import Engine, Estimate
from admn_ros.inference.frame_stream import FrameMaker
from admn_ros.sample import MultimodalSample, SensorFrame
from admn_ros.sensing.preprocess.preprocessor import Preprocessor
from admn_ros.sensing.sync.synchronizer import MakeSynchronizer, holding


class Pipeline(FrameMaker):
    """Decoding, synchronization, preprocessing and the engine for one model and one deployment."""

    def __init__(self, model: Path, deployment: DeploymentConfig, device: str = "auto", threads: int = 0,
                 make_synchronizer: MakeSynchronizer = holding) -> None:
        """Load the model and check that it knows every configured input.

        threads: CPU threads of the network; see `hardware.use_threads`.

        Raises:
            ModelError: the model folder cannot be used.
            ConfigError: the deployment has an input that the model does not know.
        """
        self.engine = Engine(model, device, threads)
        super().__init__(self.engine.config, deployment, make_synchronizer)
        self._preprocess = Preprocessor(self.engine.config)

    def check_budget(self, budget: Budget, frame_rate_hz: float | None = None) -> None:
        """Refuse a budget in a unit that this model has no costs in.

        Raises:
            InputError: naming the units that it has.
        """
        self.engine.costs.table(budget.per_frame(frame_rate_hz).unit)

    def work_ahead(self, frames: Sequence[SensorFrame]) -> None:
        """Preprocess the reading that came last, for a frame to come. It changes no result.

        frames: those that it completed. They are on their way to `process`, perhaps on another thread, which does it
        for a reading that they hold.
        """
        if self.newest is None:
            return
        key, data = self.newest
        if all(frame.readings[key].data is not data for frame in frames):
            self._preprocess.ahead(key, data)

    def process(self, frame: SensorFrame, budget: Budget, frame_rate_hz: float | None = None) -> Estimate:
        """Estimate from one frame within the budget."""
        return self.engine.infer(self.prepare(frame), budget, frame_rate_hz)

    def prepare(self, frame: SensorFrame) -> MultimodalSample:
        """A frame as the network sees it."""
        sample = self._preprocess(frame)
        return sample if self.placement is None else replace(sample, poses=self.placement.tensor)
