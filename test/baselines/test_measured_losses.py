# SPDX-License-Identifier: Apache-2.0
"""Best static allocation and cell oracle from a file of measured errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from admn_ros.baselines.cell_oracle import CellOracle
from admn_ros.baselines.measured_losses import MeasuredLosses, PatternErrors, least_within, read_losses, write_losses
from admn_ros.baselines.named import policy_file, policy_of, shown_policy
from admn_ros.baselines.static import some_depths
from admn_ros.budget.budget import Budget
from admn_ros.config import Objective
from admn_ros.errors import InputError
from admn_ros.model.allocation import Assessment, Reason
from admn_ros.model.checkpoint import estimator_fingerprint, initialize
from admn_ros.model.costs import layer_costs
from admn_ros.model.network import AdmnNetwork
from helpers import models
from helpers.models import DEPTH, RGB

MODEL = models.one_node()
NETWORK = AdmnNetwork(MODEL)
FINGERPRINT = estimator_fingerprint(NETWORK)
BOTH = {RGB: (0,), DEPTH: (0,)}
ALLOCATIONS = ((1, 0), (0, 1), (1, 1), (3, 3))
CLEAN = PatternErrors(damaged=(), frames=10, located=(10, 10, 10, 10), error_m=(1.0, 4.0, 1.2, 0.9),
                      labelled=(10, 10, 10, 10), right=(9, 5, 9, 9))
DARK = PatternErrors(damaged=(RGB,), frames=4, located=(4, 4, 4, 4), error_m=(8.0, 1.6, 2.4, 1.8),
                     labelled=(4, 4, 4, 4), right=(1, 2, 1, 2))
MEASURED = MeasuredLosses(model="m", estimator_fingerprint=FINGERPRINT, dataset="d", split="val", corruption="room-all",
                          variant="paper", seed=0, depths=MODEL.depths, allocations=ALLOCATIONS,
                          patterns=(CLEAN, DARK))


def counts(policy, budget: float, present=None) -> tuple[int, ...]:
    table = layer_costs(MODEL)
    allocation = policy(Assessment(), present or BOTH, table, Budget(budget, "layers"))
    assert allocation.spent <= budget
    return tuple(len(allocation.active[m]) for m in (RGB, DEPTH))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "losses, first.json"
    write_losses(path, MEASURED)
    return path


def test_a_file_is_read_as_it_was_written(file: Path):
    assert read_losses(file, MODEL) == MEASURED


def test_losses_are_means_over_all_frames():
    assert MEASURED.losses() == pytest.approx({(1, 0): 9 / 14, (0, 1): 5.6 / 14, (1, 1): 3.6 / 14, (3, 3): 2.7 / 14})
    weighted = MEASURED.losses(Objective(position=0.0, classification=2.0))
    assert weighted[1, 0] == pytest.approx(2 * 4 / 14)
    assert least_within(MEASURED.losses(), 1) == ((0, 1), pytest.approx(0.4))
    assert least_within(MEASURED.losses(), 0) is None


def test_the_oracle_knows_the_damage_and_the_static_allocation_does_not(file: Path):
    oracle, static = (policy_of(f"{kind}:{file}", NETWORK) for kind in ("oracle", "best_static"))
    assert counts(static, 1) == (0, 1)
    assert counts(oracle.informed(set()), 1) == (1, 0)
    assert counts(oracle.informed({RGB}), 1) == (0, 1)
    assert counts(oracle.informed(set()), 2) == (1, 0), "one layer more is worse when all is clean"
    assert counts(oracle.informed({RGB}), 6) == (0, 1)
    assert counts(static, 6) == (3, 3)
    assert not callable(oracle), "an engine must not be able to run it"


def test_what_is_missing_is_no_part_of_the_pattern():
    oracle = CellOracle(MEASURED)
    assert counts(oracle.informed({RGB}), 3, {DEPTH: (0,)}) == (0, 1)
    only = oracle.informed({RGB})(Assessment(), {}, layer_costs(MODEL), Budget(3, "layers"))
    assert only.reason is Reason.NO_INPUT
    # Errors of depth alone are those of all frames, whether RGB was damaged or not.
    assert MEASURED.cell_losses({RGB}, {DEPTH}) == pytest.approx({(0, 1): 5.6 / 14})


def test_a_pattern_that_was_not_measured_gets_the_best_constant_choice():
    assert counts(CellOracle(MEASURED).informed({DEPTH}), 1) == (0, 1)


def test_a_wrong_class_can_count_as_metres(file: Path):
    assert counts(policy_of(f"best_static:{file},class=0", NETWORK), 1) == (0, 1)
    assert counts(policy_of(f"best_static:{file},class=5", NETWORK), 1) == (1, 0)


def test_names_in_results_have_no_folders(file: Path):
    assert shown_policy(f"oracle:{file},class=0.5") == "oracle:losses, first.json,class=0.5"
    assert shown_policy("only:rgb") == "only:rgb" and policy_file("only:rgb") is None
    assert policy_file(f"best_static:{file},class=0.5") == file


@pytest.mark.parametrize(("change", "says"), [
    ({"depths": {"rgb": 3, "depth": 4}}, "rgb=3, depth=3, those of the model"),
    ({"depths": {"depth": 3, "rgb": 3}}, "those of the model"),
    ({"allocations": [[1, 0], [0, 1], [1, 1], [3, 4]]}, r"allocations has \[3, 4\]"),
    ({"allocations": [[1, 0], [0, 1], [1, 1], [1, 1]]}, "allocations has an entry twice"),
    ({"patterns": []}, "patterns: found"), ({"format": "admn-losses-2"}, "admn-losses-1"),
    ({"more": 1}, "an unknown key"), ({"patterns": [DARK.model_dump(mode="json")] * 2}, "twice"),
    ({"patterns": [{**DARK.model_dump(mode="json"), "right": [9, 9, 9, 9]}]}, "right must be at most labelled"),
    ({"patterns": [{**DARK.model_dump(mode="json"), "located": [9, 9, 9, 9]}]}, "at most the number of frames, 4"),
    ({"patterns": [{**DARK.model_dump(mode="json"), "error_m": [1.0]}]}, "error_m must have 4 entries"),
    ({"patterns": [{**DARK.model_dump(mode="json"), "damaged": ["radar"]}]}, "none of depth, rgb")], ids=str)
def test_bad_files_are_one_clear_error(file: Path, change, says):
    file.write_text(json.dumps({**MEASURED.model_dump(mode="json"), **change}), encoding="utf-8")
    with pytest.raises(InputError, match=says) as caught:
        policy_of(f"oracle:{file}", NETWORK)
    assert str(file) in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("details", "says"), [
    ("", "policy best_static.file: missing; required: best_static:FILE or oracle:FILE"),
    (":", "file: missing; required: best_static:FILE"), (":{file}x", "^[^:]*x: found No such file"),
    (":{file},class=much", "class: found much"), (":{file},class=-1", "class: found -1"),
    (":{file},class=nan", "class: found nan; allowed: metres")])
def test_bad_details_are_one_clear_error(file: Path, details, says):
    with pytest.raises(InputError, match=says) as caught:
        policy_of("best_static" + details.format(file=file), NETWORK)
    assert str(caught.value).count(str(file)) <= 1


def test_a_file_of_another_model_is_refused(file: Path):
    other = AdmnNetwork(MODEL)
    initialize(other, 7)
    with pytest.raises(InputError, match="model: found m, with other weights") as caught:
        policy_of(f"oracle:{file}", other)
    assert str(caught.value).count(str(file)) == 1


def test_a_file_without_truth_is_refused(file: Path):
    empty = CLEAN.model_copy(update={"located": (0,) * 4, "error_m": (0.0,) * 4})
    write_losses(file, MEASURED.model_copy(update={"patterns": (empty,)}))
    with pytest.raises(InputError, match="no frames with true positions"):
        policy_of(f"oracle:{file}", NETWORK)


def test_some_depths_are_listed():
    assert some_depths({RGB: 3, DEPTH: 1}, (1, 2, 8)) == [
        (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]
    with pytest.raises(InputError, match="at least 1"):
        some_depths({RGB: 3}, (0,))
    with pytest.raises(InputError, match="more than 20000"):
        some_depths(dict.fromkeys(models.four_modalities().depths, 12), range(1, 13))
