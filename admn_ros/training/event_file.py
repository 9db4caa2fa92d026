# SPDX-License-Identifier: Apache-2.0
"""A run's figures for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar


class EventFile:
    """An event file that is flushed after every epoch. A run that goes on begins a new one.

    Not tensorboardX's SummaryWriter: it writes in a thread, in which a full disk goes unnoticed.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        """Begin a file.

        Args:
            folder: created if needed.
            first_epoch: that will be written; what older files have from there on does not count.

        Raises:
            OSError: the file cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"), f".{time.time_ns()}")
        if first_epoch > 1:
            start = Event(session_log=SessionLog(status=SessionLog.START), step=first_epoch, wall_time=time.time())
            self._writer.write_event(start)
            self._writer.flush()

    def write(self, row: Mapping[str, Any]) -> None:
        """Write an epoch's figures at its number.

        Raises:
            OSError: the disk is full.
        """
        for name, value in row.items():
            if name != "epoch":
                self._writer.write_event(Event(summary=scalar(name, value), step=row["epoch"], wall_time=time.time()))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
