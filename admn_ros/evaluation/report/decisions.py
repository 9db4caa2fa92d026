# SPDX-License-Identifier: Apache-2.0
"""What was decided about each input of an evaluated frame, and why."""

from __future__ import annotations

import numpy as np

from admn_ros.errors import InputError
from admn_ros.evaluation.report.data import Evaluation
from admn_ros.inference.decision import FrameDecision, InputDecision
from admn_ros.model.official.state_dict import some_of
from admn_ros.replay.ground_truth import NS
from admn_ros.replay.instants import FAR_S, nearest_frame


def evaluated_decision(evaluation: Evaluation, corruption: str, variant: int, row: int) -> FrameDecision:
    """Return the decision of a policy with a budget about a frame.

    Args:
        evaluation: evaluation with the frame.
        corruption: injected corruption.
        variant: index of policy and budget (`Evaluation.variant`).
        row: row of the frame.

    Returns:
        The decision; without inputs if the policy does not say.
    """
    columns = evaluation.records[corruption]
    inputs: tuple[InputDecision, ...] = ()
    if columns["why"][row, variant].any():
        names = [(m, node) for m in evaluation.modalities
                 for node in evaluation.results["described_model"]["sensor_nodes"]]
        inputs = tuple(
            InputDecision(m, node, float(value), float(cost), bool(ran), why.decode())
            for (m, node), value, cost, ran, why in zip(
                names, *(columns[name][row, variant].tolist() for name in ("value", "input_cost", "ran", "why")),
                strict=True))
    return FrameDecision(int(columns["stamp_ns"][row]), float(columns["granted"][row, variant]),
                         float(columns["spent"][row, variant]), str(columns["unit"][row, variant]),
                         str(columns["reason"][row, variant]), inputs)


def find_variant(evaluation: Evaluation, policy: str | None, budget: float | None) -> int:
    """Return the index of a policy and a constant budget.

    Args:
        evaluation: evaluation.
        policy: name of the policy; None for the first one.
        budget: limit; None for the one in focus.

    Raises:
        InputError: the evaluation does not have it.
    """
    if policy is not None and policy not in evaluation.policies:
        raise InputError("--policy", policy, ", ".join(evaluation.policies))
    number = 0 if policy is None else evaluation.policies.index(policy)
    if budget is None:
        return evaluation.variant(number, evaluation.focus)
    limits = {_limit(evaluation.budgets[k]["limit"]): k for k in evaluation.constant_budgets}
    if budget not in limits:
        raise InputError("--budget", budget, ", ".join(f"{limit:g}" for limit in limits))
    return evaluation.variant(number, limits[budget])


def find_row(evaluation: Evaluation, corruption: str, at: str, scene: str | None) -> int:
    """Return the row of the frame nearest to an instant.

    Args:
        evaluation: evaluation.
        corruption: injected corruption.
        at: instant, as `admn_ros.replay.instants.nearest_frame` reads it.
        scene: scene of the frame; None for any.

    Raises:
        InputError: there is no such scene, no frame is near, or several recordings of a dataset have a frame near and
            no scene is given.
    """
    columns = evaluation.records[corruption]
    scenes, stamps_ns = columns["scene"], columns["stamp_ns"]
    if scene is not None and scene not in scenes:
        raise InputError("--scene", scene, some_of(sorted(set(scenes.tolist()))))
    rows = np.flatnonzero(np.ones(len(scenes), np.bool_) if scene is None else scenes == scene)
    rows = rows[np.argsort(stamps_ns[rows], kind="stable")]
    row = int(rows[nearest_frame(stamps_ns[rows].tolist(), at)])
    near = sorted(set(scenes[np.abs(stamps_ns - stamps_ns[row]) <= FAR_S * NS].tolist()))
    if scene is None and len(near) > 1 and not evaluation.is_of_bags:   # scenes of a recording follow one another
        raise InputError.missing("--scene", f"one of the {len(near)} with a frame at that time: {some_of(near)}")
    return row


def _limit(value: float | None) -> float:
    return float("inf") if value is None else value
