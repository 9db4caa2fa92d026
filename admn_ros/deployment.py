# SPDX-License-Identifier: Apache-2.0
"""The deployment file (`config/*.yaml`): which topics, which clock, which budget."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from admn_ros.config import BudgetUnit, Finite, Name, NotNegative, Positive, Strict
from admn_ros.sample import Modality, SensorKey


class InputTopic(Strict):
    """One sensor topic. `compressed`: a CompressedImage (RGB only) in place of an Image."""

    topic: Annotated[str, Field(pattern=r"^(~/|/)?[A-Za-z_][A-Za-z0-9_]*(/[A-Za-z_][A-Za-z0-9_]*)*$")]
    compressed: bool = False


class SyncModality(Strict):
    """How the inputs of one modality are matched to a frame.

    tolerance_s: a reading this close to the frame stamp is fresh.
    hold_s: an older reading is held up to this age; after that it is missing.
    wait_s: how long a frame waits for a live input to become fresh (0: never). Give 0 to inputs slower
        than the reference, or most frames wait in vain; radar has 0 unless the file says otherwise.
    offset_s: known latency of the stamps; subtracted from them.
    """

    tolerance_s: NotNegative = 0.04
    hold_s: NotNegative = 0.3
    wait_s: NotNegative = 0.05
    offset_s: Finite = 0.0


class SyncConfig(Strict):
    """The synchronizer. The reference input's clock makes the frames; if it falls silent for
    `silent_s`, the next live input in order takes over, and a silent input is not waited for.
    A reference must agree with at least half of the live inputs to within `jump_back_s`, so that one
    wrong clock cannot lead. A stamp that jumps back by more than `jump_back_s` (a bag that loops) resets everything.
    """

    reference: tuple[Modality, ...] = Field(
        default=(Modality.RGB, Modality.DEPTH, Modality.AUDIO, Modality.RADAR), min_length=1)
    silent_s: Positive = 0.5
    jump_back_s: Positive = 1.0
    buffer: Annotated[int, Field(ge=2, le=1000)] = 16
    modalities: dict[Modality, SyncModality] = Field(default={})

    def of(self, modality: Modality) -> SyncModality:
        """Settings of a modality, or the defaults."""
        slow = SyncModality(wait_s=0.0) if modality is Modality.RADAR else SyncModality()
        return self.modalities.get(modality, slow)


class BudgetConfig(Strict):
    """The budget in force while no power manager publishes one. Null means everything."""

    limit: Annotated[float, Field(ge=0)] | None = None
    unit: BudgetUnit = "layers"


class DeploymentConfig(Strict):
    """A deployment file (`config/*.yaml`): sensor nodes and topics, synchronization, default budget."""

    sensors: dict[Name, dict[Modality, InputTopic]] = Field(min_length=1)
    sync: SyncConfig = SyncConfig()
    budget: BudgetConfig = BudgetConfig()

    @field_validator("sensors")
    @classmethod
    def _topics_differ(cls, sensors: dict[str, dict[Modality, InputTopic]]) -> dict[str, dict[Modality, InputTopic]]:
        seen: dict[str, str] = {}
        for node, inputs in sensors.items():
            if not inputs:
                raise ValueError(f"sensor node {node} has no inputs")
            for modality, entry in inputs.items():
                here = f"{node}/{modality}"
                if entry.compressed and modality is not Modality.RGB:
                    raise ValueError(f"{here} is compressed; only rgb can be")
                if entry.topic in seen:
                    raise ValueError(f"topic {entry.topic} is used by both {seen[entry.topic]} and {here}")
                seen[entry.topic] = here
        return sensors

    @property
    def inputs(self) -> dict[SensorKey, InputTopic]:
        """Topic of each input."""
        return {SensorKey(node, modality): entry
                for node, inputs in self.sensors.items() for modality, entry in inputs.items()}
