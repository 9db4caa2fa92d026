# SPDX-License-Identifier: Apache-2.0
import threading

from admn_ros.inference.latest_only_queue import Mailbox


def test_newest_wins_and_every_drop_is_counted():
    gate, started = threading.Event(), threading.Event()
    done: list[int] = []

    def work(item: int) -> None:
        started.set()
        gate.wait(5)
        done.append(item)

    box = Mailbox(work, failed=lambda error: None)
    box.put(0)
    assert started.wait(5)
    for item in range(1, 6):
        box.put(item)
    gate.set()
    assert box.wait_idle(5)
    assert done == [0, 5]
    assert (box.accepted, box.dropped) == (6, 4)
    assert box.stop()


def test_an_exception_is_reported_and_the_worker_lives_on():
    failures: list[str] = []
    done: list[int] = []

    def work(item: int) -> None:
        if item == 1:
            raise ValueError("bad frame")
        done.append(item)

    box = Mailbox(work, failed=lambda error: failures.append(str(error)))
    for item in range(3):
        box.put(item)
        assert box.wait_idle(5)
    assert failures == ["bad frame"] and done == [0, 2]
    assert box.stop()


def test_stop_forgets_what_waits_and_later_items_are_ignored():
    gate, started = threading.Event(), threading.Event()
    done: list[int] = []

    def work(item: int) -> None:
        started.set()
        gate.wait(5)
        done.append(item)

    box = Mailbox(work, failed=lambda error: None)
    box.put(1)
    assert started.wait(5)
    box.put(2)
    threading.Timer(0.05, gate.set).start()
    assert box.stop()
    box.put(3)
    assert done == [1] and box.dropped == 1 and box.accepted == 2
