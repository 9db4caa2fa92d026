# SPDX-License-Identifier: Apache-2.0
"""The three shapes of error messages."""

from __future__ import annotations

import pickle

import pytest

from admn_ros.errors import ConfigError, InputError, ModelError


def test_value() -> None:
    error = InputError("rate_hz", -1, "above 0")
    assert str(error) == "rate_hz: found -1; allowed: above 0"
    assert (error.field, error.found, error.allowed) == ("rate_hz", -1, "above 0")


def test_missing() -> None:
    error = ConfigError.missing("model", "a model folder")
    assert str(error) == "model: missing; required: a model folder"
    assert type(error) is ConfigError and error.allowed == "a model folder"


def test_conflict() -> None:
    error = ModelError.conflict("--truth", "a dataset", "datasets have their own ground truth")
    assert str(error) == "--truth: conflicts with a dataset; datasets have their own ground truth"
    assert type(error) is ModelError


def test_within_keeps_shape_and_type() -> None:
    assert str(InputError("encoding", "bgr", "rgb8").within("node1/rgb")) \
        == "node1/rgb.encoding: found bgr; allowed: rgb8"
    error = ConfigError.missing("topic", "a name").within("node1")
    assert str(error) == "node1.topic: missing; required: a name" and type(error) is ConfigError


def test_a_message_is_one_line_of_bounded_length() -> None:
    assert str(InputError("a\nb", "c\x1b[2J\u2028", "d")) == "a\\nb: found c\\x1b[2J\\u2028; allowed: d"
    assert str(InputError("a", "x" * 5000, "y")) == f"a: found {'x' * 400}... (5000 characters); allowed: y"
    assert str(InputError("a", "größer · 5 m²", "…")) == "a: found größer · 5 m²; allowed: …"


@pytest.mark.parametrize("error", [InputError("rate_hz", -1, "above 0"), ConfigError.missing("model", "a model folder"),
                                   ModelError.conflict("--truth", "a dataset", "it has its own ground truth")], ids=str)
def test_it_comes_whole_from_a_worker_process(error: InputError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
