# SPDX-License-Identifier: Apache-2.0
"""Recordings as an evaluation source: the frames of the node, corrupted, with budgets that may change over time.

Ground truth is read from a topic, from TF or from a file, and joined with the records afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from admn_ros.budget.budget import Budget
from admn_ros.errors import ConfigError, InputError
from admn_ros.evaluation.budgets import BudgetSource, RecordedBudgets, TracedBudget, constant_budgets
from admn_ros.evaluation.governed_budget import GovernedBudget
from admn_ros.evaluation.plan import CLEAN, EvaluationPlan
from admn_ros.evaluation.records import Columns
from admn_ros.evaluation.source import Json, Readings, SourceFrame, Unit
from admn_ros.governor.config import GovernorConfig
from admn_ros.governor.parameter_file import read_governor
from admn_ros.inference.pipeline import Pipeline
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.replay.bag_frames import TimedFrame, absolute, bag_frames
from admn_ros.replay.bag_info import (
    ENOUGH_BAGS,
    SCENE_S,
    BagInfo,
    input_stats,
    inspect_bags,
    longest_wait_s,
    no_frames,
    scene_name,
)
from admn_ros.replay.ground_truth import Offset, Track, search_offset
from admn_ros.sensing.corruption.draws import StretchCorruption
from admn_ros.sensing.corruption.presets import preset_for_model


class BagSource:
    """Recordings. See `admn_ros.evaluation.source.EvaluationSource`.

    Raises:
        InputError: a bag, its ground truth or a budget trace cannot be used.
        ModelError: the model cannot be used.
        ConfigError: the model does not have an input of the deployment.
    """

    def __init__(self, plan: EvaluationPlan) -> None:
        if plan.bag is None:
            raise ConfigError.missing("sensors", "a deployment file with the topics of the bags")
        self._plan, self._bag_plan = plan, plan.bag
        # One thread: another order of summation would change the last bits.
        self._pipeline = Pipeline.load(plan.model, plan.bag.deployment, plan.device, threads=1, choice=plan.runtime)
        self.engine = self._pipeline.engine
        self._metadata: dict[str, Json] = {}
        self._offsets: dict[int, Offset] = {}
        self._located: dict[int, int] = {}
        self._bags = inspect_bags(plan.sources, plan.bag, self._pipeline.frames, self.engine.config, plan.bag.search_s)
        for k, about in enumerate(self._bags if plan.bag.recorded_budgets is not None else ()):
            with BagReader(about.path) as bag:  # before the results folder is begun
                _listeners(bag, self.budgets(k))

    def units(self) -> list[Unit]:
        """See `EvaluationSource`."""
        limit = self._plan.limit
        return [Unit(f"{corruption}-{k:05d}", corruption, k, (),
                     bag.frames if limit is None else min(limit, bag.frames))
                for corruption in self._plan.corruptions for k, bag in enumerate(self._bags)]

    def budgets(self, source: int) -> list[BudgetSource]:
        """See `EvaluationSource`."""
        plan, bag = self._plan, self._bag_plan
        budgets = constant_budgets(plan)
        if bag.trace is not None:
            budgets.append(TracedBudget(Path(bag.trace), self._bags[source].start_ns * 1e-9))
        if bag.recorded_budgets is not None:
            budgets.append(RecordedBudgets(
                absolute(bag.recorded_budgets), Budget.of(bag.deployment.budget, "deployment file"),
                lambda budget: self._pipeline.check_budget(budget, plan.rate_hz),
                lambda budget: self.engine.costs.share(budget, plan.rate_hz)))
        if bag.governor is not None:
            law = read_governor(bag.governor) if bag.governor else GovernorConfig()
            budgets.append(GovernedBudget(law, self.engine.costs, Path(bag.governor).name))
        return budgets

    def frames(self, unit: Unit, budgets: list[BudgetSource]) -> Iterator[SourceFrame]:
        """See `EvaluationSource`."""
        about, pipeline, number = self._bags[unit.source], self._pipeline, -1
        corruption, every = self._corruption(unit.corruption), self._every(about)
        with BagReader(about.path) as bag:
            for number, (frame, now_s) in enumerate(self._read(bag, budgets)):
                if number % every:
                    corruption.skip(frame)
                    continue
                corrupted, labels = corruption(frame)
                scene = scene_name(about, len(self._bags), frame.stamp_ns)
                yield SourceFrame(number, scene, pipeline.prepare(corrupted), labels, now_s)
            if number < 0:
                raise no_frames(about, pipeline.frames)
        self._metadata[unit.name] = {
            "frames": number + 1, "recorded_s": round(about.length_s, 3), **input_stats(pipeline.frames),
            "budget_refusals": [f"{b.label['from']}: {line}" for b in budgets for line in b.refusals]}

    def metadata(self, unit: Unit) -> Json:
        """See `EvaluationSource`."""
        return self._metadata[unit.name]

    def with_ground_truth(self, unit: Unit, columns: Columns) -> Columns:
        """See `EvaluationSource`."""
        bag, plan = self._bags[unit.source], self._bag_plan
        label = np.full(len(columns["index"]), bag.label, np.int64)
        if bag.track is None:
            return {**columns, "label": label}
        if unit.source not in self._offsets:
            self._offsets[unit.source] = self._offset(bag.track, columns)
        offset_s = self._offsets[unit.source].seconds
        position_m = bag.track.at(columns["stamp_ns"], plan.align, plan.max_gap_s, offset_s)
        self._located[unit.source] = int(np.isfinite(position_m).all(axis=1).sum())
        return {**columns, "position_m": position_m, "label": label}

    def describe(self) -> Json:
        """See `EvaluationSource`."""
        bags = []
        for k, bag in enumerate(self._bags):
            offset = self._offsets.get(k, Offset(self._bag_plan.offset_s))
            bags.append({"name": bag.name, "remarks": bag.remarks, "topics_missing": list(bag.missing),
                         "topics_similar": bag.missing, "frames_about": bag.frames,
                         "truth": None if bag.track is None else {
                             "from": bag.track.origin, "positions": len(bag.track.stamps_ns),
                             "frames_with_position": self._located.get(k, 0),
                             "offset_s": offset.seconds, "offset_searched": offset.searched,
                             "offset_at_edge": offset.at_edge},
                         "why_no_truth": bag.why_no_track or None})
        by_bag = len(self._bags) >= ENOUGH_BAGS
        return {"kind": "bag", "bags": bags, "scene": "a bag" if by_bag else f"{SCENE_S:g} s of a bag"}

    def readings(self, corruption: str, source: int, indices: Collection[int]) -> Iterator[tuple[int, Readings]]:
        """See `EvaluationSource`."""
        about = self._bags[source]
        corrupt, every = self._corruption(corruption), self._every(about)
        with BagReader(about.path) as bag:
            for number, (frame, _) in enumerate(self._read(bag, self.budgets(source))):
                if number > max(indices, default=-1):
                    return
                if number % every:
                    corrupt.skip(frame)
                    continue
                # The first frame starts the corruption's clock, so every evaluated frame passes through.
                corrupted, _ = corrupt(frame)
                if number in indices:
                    yield number, {key: reading.data for key, reading in corrupted.readings.items()}

    # --- parts -------------------------------------------------------------------------------------

    def _read(self, bag: BagReader, budgets: list[BudgetSource]) -> Iterator[TimedFrame]:
        """Read the frames of a bag; messages for the budgets are forwarded on the way."""
        listeners = _listeners(bag, budgets)

        def on_message(topic: str, message: Any, now_s: float) -> None:
            for budget in listeners[topic]:
                budget.on_message(topic, message, now_s)

        wait_s = longest_wait_s(self._bag_plan.deployment)
        return bag_frames(bag, self._pipeline.frames, wait_s, listeners, on_message)

    def _corruption(self, name: str) -> StretchCorruption:
        preset = None if name == CLEAN else preset_for_model(name, self.engine.config, self._plan.variant)
        return StretchCorruption(preset, self._plan.seed, self._bag_plan.hold_s)

    def _every(self, bag: BagInfo) -> int:
        """Return the stride between evaluated frames."""
        return max(1, -(-bag.frames // self._plan.limit)) if self._plan.limit else 1

    def _offset(self, track: Track, columns: Columns) -> Offset:
        plan = self._bag_plan
        if not plan.search_s:
            return Offset(plan.offset_s)
        axes = len(self.engine.config.localization.min_m)
        deepest = int(columns["active"].sum(axis=2).mean(axis=0).argmax())
        return search_offset(track, columns["stamp_ns"], columns["mean_m"][:, deepest, :axes], align=plan.align,
                             max_gap_s=plan.max_gap_s, around_s=plan.offset_s, within_s=plan.search_s)


def _listeners(bag: BagReader, budgets: list[BudgetSource]) -> dict[str, list[BudgetSource]]:
    """Return the topics of the bag that budgets follow, with those budgets."""
    found: dict[str, list[BudgetSource]] = {}
    for budget in budgets:
        names = [name for topic, kind in budget.topics.items() for name, info in bag.topics.items()
                 if info.type == kind and (topic in (name, f"*{kind}")
                                           or (topic.startswith("*/") and name.endswith(topic[1:])))]
        if not names and isinstance(budget, RecordedBudgets):
            wanted = ", ".join(f"{topic} ({kind})" for topic, kind in budget.topics.items())
            raise InputError(f"{bag.path}: recorded budgets", f"no topic {wanted}", ", ".join(bag.topics))
        for name in names:
            found.setdefault(name, []).append(budget)
    return found
