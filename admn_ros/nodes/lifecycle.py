# SPDX-License-Identifier: Apache-2.0
"""A lifecycle node that survives what Jazzy's does not."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

Transition = Callable[[LifecycleState], TransitionCallbackReturn]


class RobustLifecycleNode(LifecycleNode):
    """Refuses an impossible transition with a warning, and logs the cause of a failed one.

    rclpy raises in the executor on a transition that the current state does not have
    (ros2/rclpy issue 1209), which ends the process, and drops exceptions of the callbacks.
    """

    def __init__(self, name: str, **kwargs: object) -> None:
        super().__init__(name, **kwargs)

    def _LifecycleNodeMixin__change_state(self, transition_id: int) -> TransitionCallbackReturn:  # noqa: N802
        # The mixin's private name: its services and trigger_*() both go through here.
        possible = {t[0]: t[1] for t in self._state_machine.available_transitions}
        if transition_id not in possible:
            self.get_logger().warning(
                f"transition: found {transition_id}; allowed in state '{self.state_label}': "
                f"{', '.join(sorted(possible.values())) or 'none'}")
            return TransitionCallbackReturn.FAILURE
        return super()._LifecycleNodeMixin__change_state(transition_id)

    @property
    def state_label(self) -> str:
        """Label of the current lifecycle state."""
        return str(self._state_machine.current_state[1])


def logged(step: Transition) -> Transition:
    """Log an exception of a transition callback in one line and return FAILURE."""

    def run(self: RobustLifecycleNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return step(self, state)
        except Exception as error:
            if not self.context.ok():  # Ctrl-C in the middle of it: nothing failed
                return TransitionCallbackReturn.FAILURE
            self.get_logger().error(f"{step.__name__}: {error}" if str(error) else f"{step.__name__}: {error!r}")
            return TransitionCallbackReturn.FAILURE

    return run
