# SPDX-License-Identifier: Apache-2.0
"""The line that says which inputs were missing and why."""

from __future__ import annotations

from admn_ros.nodes.trials.missing_inputs import describe_missing

STATUSES = {
    "input left/radar": {"state": "never received", "message": "nothing received on /left/radar", "accepted": "0",
                         "refused": "0", "frames_held": "0", "age_s": "never"},
    "input left/rgb": {"state": "receiving", "message": "receiving", "accepted": "30", "refused": "2",
                       "frames_held": "7", "age_s": "0.031"},
}


def test_the_most_frequent_comes_first_with_what_both_sides_know():
    text = describe_missing([{"left/radar"}, {"left/radar", "left/rgb"}, {"left/radar"}], STATUSES,
                            {"left/radar": 0, "left/rgb": 2})
    radar, rgb = text.split("; left/rgb ")
    assert radar.startswith("left/radar in 3 of 3 frames (never received: nothing received on /left/radar, accepted 0")
    assert radar.endswith("its publisher has 0 subscribers)")
    assert rgb.startswith("in 1 of 3 frames (receiving: receiving, accepted 30, refused 2, held in 7 frames")
    assert rgb.endswith("its publisher has 2 subscribers)")


def test_an_input_without_a_status_and_no_frames_at_all_are_named_too():
    assert "right/audio in 1 of 1 frames (no diagnostics" in describe_missing([{"right/audio"}], {}, {})
    assert describe_missing([], STATUSES, {}) == "no frame was reported"
    assert "nothing was missing" in describe_missing([set()], STATUSES, {})
