# SPDX-License-Identifier: Apache-2.0
"""Bags through the evaluator: corrupted frame by frame, with budgets that can change, and with truth from apart."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from admn_ros.budget.budget import Budget
from admn_ros.config import AudioInput, load_config
from admn_ros.errors import ConfigError, InputError
from admn_ros.evaluation.budgets import BudgetSource, ConstantBudget, RecordedBudgets, TracedBudget
from admn_ros.evaluation.evaluator import Evaluator, variants_of
from admn_ros.evaluation.frame_corruption import FrameCorruption
from admn_ros.evaluation.governed_budget import GovernedBudget
from admn_ros.evaluation.plan import CLEAN, EvaluationPlan
from admn_ros.evaluation.records import Columns, FrameRows
from admn_ros.evaluation.work_units import Figures, Readings, Told, Unit, preset_for
from admn_ros.governor.config import GovernorConfig
from admn_ros.inference.pipeline import Pipeline
from admn_ros.recordings.bags import BagReader
from admn_ros.replay.bag_facts import (
    ENOUGH_BAGS,
    SCENE_S,
    class_index,
    distinct_names,
    input_stats,
    longest_wait_s,
    no_frames,
    scene_name,
)
from admn_ros.replay.bag_frames import Reading, absolute, bag_frames, bag_inputs
from admn_ros.replay.ground_truth import NS, Offset, Track, search_offset
from admn_ros.replay.ground_truth_sources import find_track
from admn_ros.sample import Modality

CHUNK = 512
"""Frames that are held in memory before they are written."""


class BagReplay:
    """Recordings and a model. See `admn_ros.evaluation.work_units.Replay`.

    Raises:
        InputError: a bag, its truth or a trace cannot be used.
        ModelError: the model cannot be used.
        ConfigError: the model does not know an input of the deployment.
    """

    def __init__(self, plan: EvaluationPlan) -> None:
        if plan.bag is None:
            raise ConfigError("sensors", "no deployment file", "one, with the topics of the bags")
        self._plan, self._bag_plan = plan, plan.bag
        # One thread: sums in another order would differ in the last bits.
        self._pipeline = Pipeline.load(plan.model, plan.bag.deployment, plan.device, threads=1)
        self.engine = self._pipeline.engine
        self._paths = [Path(source) for source in plan.sources]
        self._names = distinct_names(self._paths)
        self._stats: dict[str, Figures] = {}
        self._offsets: dict[int, Offset] = {}
        self._tracks: list[tuple[Track | None, str]] = []
        self._frames: list[int] = []
        self._classes: list[int] = []
        self._missing: list[list[str]] = []
        self._starts: list[int] = []
        for path in self._paths:
            with BagReader(path) as bag:
                self._look_at(bag)
        self._labels = [v.label for v in variants_of(plan.policies, self._budgets(0))]
        Evaluator(self.engine, variants_of(plan.policies, self._budgets(0)), plan.rate_hz)

    def _look_at(self, bag: BagReader) -> None:
        """Refuse what cannot be evaluated before anything else is done."""
        inputs, missing = bag_inputs(bag, self._pipeline.frames)
        self._frames.append(max(bag.topics[topic].count for topic in inputs))
        self._missing.append(missing)
        self._starts.append(bag.start_ns)
        self._tracks.append(find_track(bag, self._bag_plan.truth, self.engine.config.frame_id))
        self._classes.append(class_index(bag, self._bag_plan.true_class, self.engine.config.classes))

    def units(self) -> list[Unit]:
        """See `Replay`."""
        limit = self._plan.limit
        return [Unit(f"{corruption}-{k:05d}", corruption, k, (), frames if limit is None else min(limit, frames))
                for corruption in self._plan.corruptions for k, frames in enumerate(self._frames)]

    def labels(self) -> list[Figures]:
        """See `Replay`."""
        return self._labels

    def run(self, unit: Unit, told: Told) -> Iterator[Columns]:
        """See `Replay`."""
        pipeline, config, name = self._pipeline, self.engine.config, self._names[unit.source]
        budgets = self._budgets(unit.source)
        evaluator = Evaluator(self.engine, variants_of(self._plan.policies, budgets), self._plan.rate_hz)
        rows, number, start_ns = FrameRows(config), -1, self._starts[unit.source]
        corrupted, every = self._corruption(unit.corruption), self._every(unit.source)
        with BagReader(self._paths[unit.source]) as bag:
            for number, (frame, now_s) in enumerate(self._read(bag, budgets)):
                if number % every:
                    continue
                seen, labels = corrupted(frame)
                scene = scene_name(name, len(self._paths), frame.stamp_ns, start_ns)
                evaluator.run(rows, number, scene, pipeline.prepare(seen), labels, now_s)
                told(1)
                if len(rows) == CHUNK:
                    yield rows.take()
            if number < 0:
                raise no_frames(bag, pipeline.frames)
            recorded_s = (bag.end_ns - bag.start_ns) / NS
        self._stats[unit.name] = {
            "frames": number + 1, "recorded_s": round(recorded_s, 3), **input_stats(pipeline.frames)}
        yield rows.take()

    def said(self, unit: Unit) -> Figures:
        """See `Replay`."""
        return self._stats[unit.name]

    def with_truth(self, unit: Unit, columns: Columns) -> Columns:
        """See `Replay`."""
        track, _ = self._tracks[unit.source]
        label = np.full(len(columns["index"]), self._classes[unit.source], np.int64)
        if track is None:
            return {**columns, "label": label}
        plan = self._bag_plan
        offset = self._offsets.get(unit.source)
        if offset is None:
            offset = self._offsets[unit.source] = self._offset(track, columns)
        position_m = track.at(columns["stamp_ns"], plan.align, plan.max_gap_s, offset.seconds)
        return {**columns, "position_m": position_m, "label": label}

    def describe(self) -> Figures:
        """See `Replay`."""
        bags = []
        for k, name in enumerate(self._names):
            track, why = self._tracks[k]
            offset = self._offsets.get(k, Offset(self._bag_plan.offset_s))
            bags.append({"name": name, "topics_missing": self._missing[k], "frames_about": self._frames[k],
                         "truth": None if track is None else {
                             "from": track.origin, "positions": len(track.stamps_ns), "offset_s": offset.seconds,
                             "offset_searched": offset.searched, "offset_at_edge": offset.at_edge},
                         "why_no_truth": why or None})
        by_bag = len(self._paths) >= ENOUGH_BAGS
        return {"kind": "bag", "bags": bags, "scene": "a bag" if by_bag else f"{SCENE_S:g} s of a bag"}

    def seen(self, corruption: str, source: int, indices: Collection[int]) -> Iterator[tuple[int, Readings]]:
        """See `Replay`."""
        corrupted, every = self._corruption(corruption), self._every(source)
        with BagReader(self._paths[source]) as bag:
            for number, (frame, _) in enumerate(self._read(bag, self._budgets(source))):
                if number > max(indices, default=-1):
                    return
                if number % every:
                    continue
                given, _ = corrupted(frame)   # its stretches begin with the first frame, so each one passes through
                if number in indices:
                    yield number, {key: reading.data for key, reading in given.readings.items()}

    # --- parts -------------------------------------------------------------------------------------

    def _read(self, bag: BagReader, budgets: list[BudgetSource]) -> Iterator[Reading]:
        """Frames of a bag, while the budgets hear what is theirs."""
        inputs, _ = bag_inputs(bag, self._pipeline.frames)
        others = _heard(bag, budgets)

        def hear(topic: str, message: Any, now_s: float) -> None:
            for budget in others[topic]:
                budget.hear(topic, message, now_s)

        return bag_frames(bag, self._pipeline.frames, inputs, others, hear, longest_wait_s(self._bag_plan.deployment))

    def _budgets(self, source: int) -> list[BudgetSource]:
        """Fresh budgets for one pass over one bag."""
        plan, bag, start_s = self._plan, self._bag_plan, self._starts[source] * 1e-9
        budgets: list[BudgetSource] = [ConstantBudget(limit, plan.unit) for limit in plan.budgets]
        if bag.trace is not None:
            budgets.append(TracedBudget(Path(bag.trace), start_s))
        if bag.recorded_budgets is not None:
            budgets.append(RecordedBudgets(
                absolute(bag.recorded_budgets), Budget.of(bag.deployment.budget, "deployment file"),
                lambda budget: self._pipeline.check_budget(budget, plan.rate_hz)))
        if bag.governor is not None:
            law = load_config(GovernorConfig, bag.governor) if bag.governor else GovernorConfig()
            budgets.append(GovernedBudget(law, self.engine.costs, Path(bag.governor).name))
        return budgets

    def _corruption(self, name: str) -> FrameCorruption:
        audio = self.engine.config.modalities.get(Modality.AUDIO)
        rate_hz = audio.input.sample_rate_hz if audio is not None and isinstance(audio.input, AudioInput) else 16000
        preset = None if name == CLEAN else preset_for(name, self._plan, self.engine.config, rate_hz)
        return FrameCorruption(preset, self._plan.seed, self._bag_plan.hold_s)

    def _every(self, source: int) -> int:
        """Of how many frames one is evaluated."""
        return max(1, -(-self._frames[source] // self._plan.limit)) if self._plan.limit else 1

    def _offset(self, track: Track, columns: Columns) -> Offset:
        plan = self._bag_plan
        if not plan.search_s:
            return Offset(plan.offset_s)
        axes = len(self.engine.config.localization.min_m)
        deepest = int(columns["active"].sum(axis=2).mean(axis=0).argmax())
        return search_offset(track, columns["stamp_ns"], columns["mean_m"][:, deepest, :axes], align=plan.align,
                             max_gap_s=plan.max_gap_s, around_s=plan.offset_s, within_s=plan.search_s)


def _heard(bag: BagReader, budgets: list[BudgetSource]) -> dict[str, list[BudgetSource]]:
    """Topics of the bag that budgets want to hear."""
    found: dict[str, list[BudgetSource]] = {}
    for budget in budgets:
        for topic, kind in budget.topics.items():
            names = [t for t, i in bag.topics.items() if i.type == kind and topic in (t, f"*{kind}")]
            if not names and not topic.startswith("*") and isinstance(budget, RecordedBudgets):
                raise InputError(f"{bag.path}: recorded budgets", f"no topic {topic} of {kind}", ", ".join(bag.topics))
            for name in names:
                found.setdefault(name, []).append(budget)
    return found
