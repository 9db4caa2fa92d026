# SPDX-License-Identifier: Apache-2.0
from admn_ros.inference.seen_causes import SeenCauses


def test_each_cause_is_new_once():
    seen = SeenCauses()
    assert [seen.is_new(cause) for cause in ("a", "b", "a", "b", "c")] == [True, True, False, False, True]


def test_beyond_the_limit_nothing_is_new():
    seen = SeenCauses(limit=2)
    assert [seen.is_new(cause) for cause in ("a", "b", "c", "c")] == [True, True, False, False]
