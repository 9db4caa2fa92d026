# SPDX-License-Identifier: Apache-2.0
"""Everything between a sensor message and an estimate, without ROS.

The perception node and offline evaluation run the same pipeline, so a recording gives the same results in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from admn_ros.budget.budget import Budget
from admn_ros.deployment import DeploymentConfig
from admn_ros.errors import InputError
from admn_ros.inference.engine import Engine, Estimate
from admn_ros.inference.frame_stream import FrameStream
from admn_ros.inference.model import load_engine
from admn_ros.inference.runtime import TORCH, RuntimeChoice
from admn_ros.sample import MultimodalSample, SensorFrame, SensorKey
from admn_ros.sensing.preprocess.preprocessor import Preprocessor
from admn_ros.sensing.sync.synchronizer import MakeSynchronizer, holding


class Pipeline:
    """A frame stream, the preprocessing of a model, and its engine.

    Args:
        frames: makes synchronized frames from messages.
        preprocess: turns frames into the model's inputs.
        engine: runs the network within a budget.
    """

    def __init__(self, frames: FrameStream, preprocess: Preprocessor, engine: Engine) -> None:
        self.frames, self.preprocess, self.engine = frames, preprocess, engine

    @classmethod
    def load(cls, model: str | Path, deployment: DeploymentConfig, device: str = "auto", threads: int = 0,
             make_synchronizer: MakeSynchronizer = holding, frame_id: str = "",
             choice: RuntimeChoice = TORCH) -> Pipeline:
        """Load a model for a deployment.

        Args:
            model: model folder, name of a shipped model, or `untrained:PRESET`; see `load_engine`.
            deployment: inputs, synchronization, and TF frames of the sensor nodes.
            device: `auto` (a GPU if there is one), `cpu` or `cuda`.
            threads: CPU threads of the network; see `hardware.use_threads`.
            make_synchronizer: factory of the synchronizer.
            frame_id: name of the model's frame on this robot; empty for the name in the model file.
            choice: what computes the network.

        Raises:
            ModelError: the model folder cannot be used.
            ConfigError: the model lacks an input of the deployment.
        """
        engine = load_engine(model, device, threads, choice)
        if frame_id:
            engine.name_frame(frame_id)
        engine.objective = deployment.objective
        return cls(FrameStream(engine.config, deployment, make_synchronizer), Preprocessor(engine.config), engine)

    def check_budget(self, budget: Budget, frame_rate_hz: float | None = None) -> None:
        """Check that the model has costs in the unit of a budget.

        Args:
            budget: budget to check.
            frame_rate_hz: frames per second, required for a budget in watts.

        Raises:
            InputError: the model has no costs in that unit.
        """
        per_frame = budget.per_frame(frame_rate_hz)
        try:
            self.engine.costs.table(per_frame.unit)
        except InputError as error:  # watts are converted to joules: name what was requested
            raise InputError("unit", budget.unit, error.allowed) from error

    def preprocess_ahead(self, key: SensorKey, completed: Sequence[SensorFrame]) -> None:
        """Preprocess the newest reading of an input for a later frame, while there is time. Results do not change.

        Args:
            key: input whose reading arrived.
            completed: frames that the reading completed. They are preprocessed by `process`, perhaps on another
                thread, so nothing is done for a reading that they contain.
        """
        data = self.frames.newest.get(key)
        if data is not None and all(frame.readings[key].data is not data for frame in completed):
            self.preprocess.ahead(key, data)

    def prepare(self, frame: SensorFrame) -> MultimodalSample:
        """Preprocess a frame and add the poses of the sensor nodes known from TF."""
        sample, poses = self.preprocess(frame), self.frames.node_poses
        return sample if poses is None else replace(sample, poses=poses.tensor)

    def process(self, frame: SensorFrame, budget: Budget, frame_rate_hz: float | None = None) -> Estimate:
        """Estimate position and class from one frame within a budget.

        A frame on which nothing can run is not preprocessed. `preprocess_ahead` then stops too, after a few readings
        that no frame has used.

        Args:
            frame: frame of `frames`.
            budget: upper bound of what the frame may spend.
            frame_rate_hz: frames per second, required for a budget in watts.

        Raises:
            InputError: a reading does not fit its modality, or the model has no costs in the unit of the budget.
            AdmnError: the network's output is not finite.
        """
        present = frame.present_nodes(self.engine.config.sensor_nodes)
        nothing = self.engine.decline(frame.stamp_ns, present, budget, frame_rate_hz)
        return self.engine.infer(self.prepare(frame), budget, frame_rate_hz) if nothing is None else nothing
