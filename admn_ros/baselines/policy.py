# SPDX-License-Identifier: Apache-2.0
"""Interface of allocation policies."""

from __future__ import annotations

from typing import Protocol

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import LayerCosts, PresentNodes
from admn_ros.model.allocation import Allocation, Assessment


class AllocationPolicy(Protocol):
    """Function that chooses the layers of one frame. `admn_ros.model.allocation.allocate` is one.

    Every policy keeps the contract of that function: the cost of the frame is at most the budget, for every input; a
    modality without present sensor nodes gets no layers; layers are ascending and include the first one; equal
    arguments give equal allocations. The cost ledger charges the controller to every policy, including those that do
    not use it: all policies share one cost table, and the engine may run the controller beside any of them.
    """

    def __call__(self, assessment: Assessment, present_nodes: PresentNodes, table: LayerCosts,
                 budget: Budget, *, requested: Budget | None = None) -> Allocation:
        """Choose the layers of one frame. Arguments and errors as `allocate`."""
        ...
