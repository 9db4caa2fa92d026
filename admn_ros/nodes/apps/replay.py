# SPDX-License-Identifier: Apache-2.0
"""Publish a rosbag2 on its topics with /clock; needs no `ros2 bag`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from admn_ros.errors import ConfigError, InputError
from admn_ros.nodes.apps.player import PLAYER_PARAMETERS, Item, Player
from admn_ros.nodes.parameters import Spec
from admn_ros.nodes.run_node import Program, run_node
from admn_ros.recordings.bag_reader import BagReader

PARAMETERS = (
    Spec("bag", "", "Rosbag2 folder (sqlite3 or mcap), or one storage file.", fixed=True),
    Spec("loop", False, "Start again at the end; stamps then jump back.", fixed=True),
    Spec("exclude", [""], "Topics that are not published.", fixed=True),
    *PLAYER_PARAMETERS,
)


class ReplayNode(Player):
    """Plays a bag once, or in a loop, then ends the process.

    Raises:
        AdmnError: the bag is missing or cannot be read.
    """

    def __init__(self, name: str = "replay", **kwargs: object) -> None:
        super().__init__(name, PARAMETERS, **kwargs)
        bag, self._loop, exclude = (self._values[key] for key in ("bag", "loop", "exclude"))
        if not bag:
            raise ConfigError.missing("bag", "-p bag:=FOLDER")
        self._reader = BagReader(Path(bag).expanduser())
        for remark in self._reader.remarks:
            self.get_logger().warning(f"{self._reader.path.name}: {remark}")
        wanted = {t: i for t, i in self._reader.topics.items() if t not in exclude and t != "/clock"}
        skipped = [f"{t} ({i.type})" for t, i in wanted.items() if not self.add_topic(t, i.type, i.latched)]
        if skipped:
            self.get_logger().warning(f"not published, their message packages are not installed: {', '.join(skipped)}")
        if not self._publishers_of:
            self._reader.close()
            raise InputError("bag", f"{self._reader.path} without a message type that is installed",
                             "a bag with a topic whose message package is installed")
        self.start()

    def items(self) -> Iterator[Item]:
        """Yield the messages of the bag."""
        return self._reader.raw(list(self._publishers_of))

    def passes(self) -> Iterator[Iterator[Item]]:
        """Yield one pass, or passes without end."""
        yield self.items()
        while self._loop:
            yield self.items()

    def destroy_node(self) -> None:
        """Stop publishing, then close the bag."""
        super().destroy_node()
        self._reader.close()


def main(args: list[str] | None = None) -> int:
    """Entry point of `ros2 run admn_ros replay`."""
    return run_node(ReplayNode, Program("replay", __doc__, PARAMETERS), args)


if __name__ == "__main__":
    sys.exit(main())
