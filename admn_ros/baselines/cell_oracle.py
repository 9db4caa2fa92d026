# SPDX-License-Identifier: Apache-2.0
"""Cell oracle: the best allocation for each pattern of damaged modalities. A yardstick for evaluations.

It knows what no policy on a robot knows: which modalities of the frame were corrupted. It does not know how the frame
turns out, so it has no benefit of hindsight: the choice is made on validation data.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field
from functools import partial

from admn_ros.baselines.measured_losses import POSITION, MeasuredLosses
from admn_ros.baselines.orders import LayerOrder, every_other
from admn_ros.baselines.policy import AllocationPolicy
from admn_ros.baselines.static import StaticAllocation
from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import LayerCosts, PresentNodes
from admn_ros.config import Objective
from admn_ros.model.allocation import Allocation, Assessment
from admn_ros.sample import Modality


@dataclass(frozen=True)
class CellOracle:
    """Allocation of least validation loss among the frames with the same damage.

    It is no allocation policy itself: `informed` makes one from the damage, which no engine knows. Missing
    modalities are left out of the pattern. A pattern that was not measured gets the allocation that is best over all
    frames.

    Attributes:
        measured: errors of allocations.
        objective: weights of position error in metres and share of wrong classes.
        order: layers that are kept.
    """

    measured: MeasuredLosses
    objective: Objective = POSITION
    order: LayerOrder = every_other
    _cells: dict[tuple[frozenset[Modality], frozenset[Modality]], StaticAllocation] = field(
        default_factory=dict, repr=False, compare=False)

    def informed(self, damaged: Set[Modality]) -> AllocationPolicy:
        """Return the policy for one frame in which these modalities are damaged."""
        return partial(self._allocate, damaged)

    def _allocate(self, damaged: Set[Modality], assessment: Assessment, present_nodes: PresentNodes,
                  table: LayerCosts, budget: Budget, *, requested: Budget | None = None) -> Allocation:
        available = frozenset(m for m, nodes in present_nodes.items() if nodes)
        cell = self._cell(available & damaged, available)
        return cell(assessment, present_nodes, table, budget, requested=requested)

    def _cell(self, damaged: frozenset[Modality], available: frozenset[Modality]) -> StaticAllocation:
        """Return the policy of a pattern. It is kept, because ranking the allocations takes milliseconds."""
        key = damaged, available
        if key not in self._cells:
            losses = (self.measured.cell_losses(damaged, available, self.objective)
                      or self.measured.losses(self.objective))
            self._cells[key] = StaticAllocation(self.measured.modalities, losses, self.order)
        return self._cells[key]
