# SPDX-License-Identifier: Apache-2.0
"""What was decided about each input of an evaluated frame, and why."""

from __future__ import annotations

from admn_ros.errors import InputError
from admn_ros.evaluation.report.data import Evaluation
from admn_ros.inference.decision import FrameDecision, InputDecision


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


def _limit(value: float | None) -> float:
    return float("inf") if value is None else value
