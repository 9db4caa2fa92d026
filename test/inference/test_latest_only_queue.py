# SPDX-License-Identifier: Apache-2.0
import threading

from admn_ros.inference.latest_only_queue import LatestOnlyQueue


class Gate:
    """Work that waits until it is let through, and records what it did."""

    def __init__(self) -> None:
        self.started, self.open = threading.Event(), threading.Event()
        self.done: list[int] = []
        self.finished = threading.Condition()

    def __call__(self, item: int) -> None:
        self.started.set()
        self.open.wait(5)
        with self.finished:
            self.done.append(item)
            self.finished.notify_all()

    def reaches(self, count: int) -> bool:
        with self.finished:
            return self.finished.wait_for(lambda: len(self.done) >= count, 5)


def test_newest_wins_and_every_drop_is_counted():
    work = Gate()
    queue = LatestOnlyQueue(work, on_error=lambda error: None)
    queue.put(0)
    assert work.started.wait(5)
    for item in range(1, 6):
        queue.put(item)
    work.open.set()
    assert work.reaches(2)
    assert queue.stop()
    assert work.done == [0, 5]
    assert (queue.accepted, queue.dropped) == (6, 4)


def test_an_exception_is_reported_and_the_worker_lives_on():
    failures: list[str] = []
    done: list[int] = []
    taken = threading.Semaphore(0)

    def work(item: int) -> None:
        taken.release()
        if item == 1:
            raise ValueError("bad frame")
        done.append(item)

    queue = LatestOnlyQueue(work, on_error=lambda error: failures.append(str(error)))
    for item in range(3):
        queue.put(item)
        assert taken.acquire(timeout=5)
    assert queue.stop()
    assert failures == ["bad frame"] and done == [0, 2]


def test_stop_forgets_what_waits_and_later_items_are_ignored():
    work = Gate()
    queue = LatestOnlyQueue(work, on_error=lambda error: None)
    queue.put(1)
    assert work.started.wait(5)
    queue.put(2)
    threading.Timer(0.05, work.open.set).start()
    assert queue.stop()
    queue.put(3)
    assert work.done == [1] and queue.dropped == 1 and queue.accepted == 2
