# SPDX-License-Identifier: Apache-2.0
from admn_ros.budget.budget import MAX_SOURCES
from admn_ros.budget.refusals import LOG_EVERY_S, OTHERS, RECENT_S, Refusals
from admn_ros.errors import InputError

NAN = InputError("limit", "nan", "a number")


def test_a_stream_is_logged_once_a_minute_and_silences_nobody_else():
    refusals, logged = Refusals(), []
    for tick in range(1300):  # ten a second, for 130 s
        logged += [(tick, r.source) for r in [refusals.add("noisy", NAN, tick / 10)] if r is not None]
        if tick == 50:
            logged += [(tick, r.source) for r in [refusals.add("shy", NAN, tick / 10)] if r is not None]
    assert logged == [(0, "noisy"), (50, "shy"), (600, "noisy"), (1200, "noisy")]
    assert refusals.total == 1301


def test_another_fault_of_the_same_source_is_logged_too():
    refusals = Refusals()
    assert refusals.add("a", NAN, 0.0)
    assert refusals.add("a", InputError("unit", 9, "0 to 4"), 0.1)
    assert refusals.add("a", NAN, 0.2) is None


def test_any_number_of_names_and_fields_stays_bounded():
    refusals, lines = Refusals(), 0
    for k in range(5000):
        lines += refusals.add(f"source {k}", InputError(f"field {k}", k, "nothing"), k * 1e-3) is not None
    assert lines <= MAX_SOURCES + 16 + 1
    assert len(refusals.recent(5.0)) == MAX_SOURCES + 1 and refusals.recent(5.0)[0].source == OTHERS
    assert refusals.add("late", NAN, 5.0 + LOG_EVERY_S).source == "late", "names that went quiet make room"


def test_a_refusal_is_recent_for_a_while_and_stands_until_its_source_is_accepted():
    refusals = Refusals()
    refusals.add("a", NAN, 0.0)
    refusals.add("b", NAN, 1.0)
    assert [str(r) for r in refusals.recent(RECENT_S)] == ["b: limit: found nan; allowed: a number"]
    assert [r.source for r in refusals.standing()] == ["a", "b"]
    refusals.accept("a")
    refusals.accept("never heard of")
    assert [r.source for r in refusals.standing()] == ["b"]
    refusals.add("a", NAN, 2.0)
    assert [(r.source, r.count) for r in refusals.standing()] == [("a", 2), ("b", 1)]
