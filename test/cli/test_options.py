# SPDX-License-Identifier: Apache-2.0
"""Options of the command line: every one is documented, and those of plans follow from the plans."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml

from admn_ros.cli import main, parser
from admn_ros.cli.command import Parser
from admn_ros.cli.plan_options import given_values, parse_options, spell, with_deployment
from admn_ros.config import Strict, dump_config
from admn_ros.errors import ConfigError
from admn_ros.evaluation.plan import BagPlan, EvaluationPlan
from admn_ros.inference.tracking import TrackerConfig
from admn_ros.replay.export_plan import ExportPlan
from admn_ros.training.config import OptimizerConfig
from admn_ros.training.settings import STAGES

GDTM = str(Path(__file__).resolve().parents[2] / "config" / "gdtm.yaml")


def commands(found: Parser | None = None, name: str = "admn") -> Iterator[tuple[str, Parser]]:
    """Yield every command with its parser, and those of families too."""
    found = found or parser()
    found.complete()
    yield name, found
    for action in found._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from commands(inner, f"{name} {word}")


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name):
    command = COMMANDS[name]
    actions = [a for a in command._actions if not isinstance(a, argparse._SubParsersAction)]
    undocumented = [a.option_strings or a.dest for a in actions if not a.help]
    assert not undocumented
    for action in actions:
        assert action.help[0].islower() or action.help.split()[0].isupper(), action.help
        assert not action.help.endswith("."), action.help
    assert command.format_help()
    described = [choice.help for a in command._actions if isinstance(a, argparse._SubParsersAction)
                 for choice in a._choices_actions]
    assert all(described)


def test_the_help_of_admn_imports_no_slow_package():
    code = """
import sys
from admn_ros.cli import parser
assert "evaluate" in parser().format_help()
slow = {"torch", "numpy", "cv2", "pydantic", "jinja2", "matplotlib"} & set(sys.modules)
assert not slow, slow
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# --- options of plans ---------------------------------------------------------------------------------

PLANS: dict[str, tuple[type[Strict], ...]] = {
    "admn evaluate": (EvaluationPlan, BagPlan), "admn convert bag": (ExportPlan,), "admn tracking": (TrackerConfig,)}
FIXED = {"admn evaluate": ["bags", "--out", "out"], "admn convert bag": ["bags", "data", "--model", "m"],
         "admn tracking": ["out"]}
VALUES = {"kind": ["mmfi"], "corruptions": ["clean", "room-all"], "policies": ["naive", "only:rgb"],
          "budgets": ["3", "inf"], "shares": ["0.5", "0.25", "0.25"], "gate": ["0.5"], "no_target_above": ["0.25"]}


def fields() -> Iterator[tuple[str, type[Strict], str]]:
    for command, plans in PLANS.items():
        for plan in plans:
            yield from ((command, plan, name) for name in plan.model_fields if name not in ("sources", "bag"))


def words(plan: type[Strict], name: str) -> list[str]:
    """Return words of a value that is not the default."""
    field = plan.model_fields[name]
    kinds = [field.annotation, *get_args(field.annotation)]
    literal = next((kind for kind in kinds if "Literal" in str(get_origin(kind))), None)
    if literal is not None:
        return [next(choice for choice in get_args(literal) if choice != field.default)]
    return VALUES.get(name) or (["7"] if "int" in str(kinds) or "float" in str(kinds) else ["some"])


@pytest.mark.parametrize(("command", "plan", "name"), list(fields()), ids=lambda x: getattr(x, "__name__", x))
def test_an_option_sets_the_field_of_its_plan(command, plan, name):
    arguments = [*FIXED[command], spell(name), *words(plan, name)]
    plain, read = (given_values(COMMANDS[command].parse_args(a), plan) for a in (FIXED[command], arguments))
    assert set(plain) <= {"sources"}, "defaults are those of the plan"
    assert set(read) - set(plain) == {name}
    read = {name: read[name]}
    fixed: dict[str, Any] = {"sources": ["a"], "model": "m", **with_deployment({"deployment": GDTM})}
    needed = {field: value for field, value in fixed.items() if field in plan.model_fields and field != name}
    if name == "deployment":
        with pytest.raises(ConfigError, match=r"^some: "):
            with_deployment(read)
        return
    default = parse_options(plan, {**needed, **({"model": "m"} if name == "model" else {})})
    changed = parse_options(plan, {**needed, **read})
    different = {n for n in plan.model_fields if getattr(default, n) != getattr(changed, n)}
    assert different == {name}


def test_stages_and_precisions_are_those_of_training():
    actions = {action.dest: action for action in COMMANDS["admn train"]._actions}
    assert actions["stage"].choices == STAGES
    assert actions["precision"].choices == get_args(OptimizerConfig.model_fields["precision"].annotation)


def test_limits_are_numbers_or_infinite():
    def budgets(*limits: float) -> tuple[float | None, ...]:
        return parse_options(EvaluationPlan, {"sources": ["a"], "model": "m", "budgets": list(limits)}).budgets

    assert budgets(0.0, 2.5, float("inf")) == (0.0, 2.5, None)
    for wrong in (-1.0, float("nan"), float("-inf")):
        with pytest.raises(ConfigError, match=r"^--budgets: found"):
            budgets(wrong)


@pytest.mark.parametrize(("arguments", "expected"), [
    (["evaluate", "{ds}", "--out", "o"], "--model: missing; required: model folder"),
    (["evaluate", "{ds}", "--out", "o", "--model", "m", "--seed", "-1"], "--seed: found -1"),
    (["evaluate", "{ds}", "--out", "o", "--model", "m", "--corruption", "fog"], "--corruption: found"),
    (["evaluate", "{ds}", "--out", "o", "--model", "m", "--corruption", "clean", "clean"], "--corruption: found"),
    (["evaluate", "{ds}", "--out", "o", "--model", "m", "--align", "nearest"], "--align: conflicts with a source of"),
    (["evaluate", "{ds}", "--out", "o", "--model", "m", "--kind", "bag"], "--sensors: missing; required: "),
    (["evaluate", "{ds}", "--out", "o", "--plan", "{ds}/none.yaml"], "none.yaml"),
    (["evaluate", "{ds}/none", "--out", "o", "--model", "m"], "none: missing; required: a dataset"),
    (["convert", "bag", "{ds}", "o", "--model", "untrained:rgbd"], "--sensors: missing; required: "),
    (["evaluate", "{bag}", "--out", "o", "--model", "m", "--sensors", "{gdtm}", "--search-s", "1e9"],
     "--search-s: found 1000000000.0 (float); allowed: input should be less than or equal to 60"),
    (["evaluate", "{ds}", "--out", "o", "--model", "m", "--limit", "1" + "0" * 30], "--limit: found 1000"),
    (["tracking", "{ds}", "--timeout-s", "1e300"], "--timeout-s: found 1e+300"),
    (["tracking", "{ds}", "--gate", "1.5"], "--gate: found 1.5")])
def test_an_error_names_the_option(arguments, expected, tmp_path, capsys):
    bag = tmp_path / "bags" / "bag.mcap"
    bag.parent.mkdir()
    bag.touch()
    assert main([word.format(ds=tmp_path, bag=bag, gdtm=GDTM) for word in arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"admn {arguments[0]}: ") and expected in line


@pytest.mark.parametrize(("arguments", "expected"), [
    (["evaluate", "x", "--out", "o", "--seed", "one"], "admn evaluate: --seed: found 'one'; allowed: an integer"),
    (["evaluate", "x", "--out", "o", "--budgets", "a"], "admn evaluate: --budgets: found 'a'; allowed: a number"),
    (["evaluate", "x", "--out", "o", "--unit", "apples"], "admn evaluate: --unit: found 'apples'; allowed: 'layers'"),
    (["simulate", "--frames", "1" + "0" * 30], "admn simulate: --frames: found 1000000000000000000000000000000; "),
    (["simulate", "--frames", "1" + "0" * 5000], "admn simulate: --frames: found '100"),
    (["simulate", "--masks", "--bag", "bag"], "admn simulate: dataset: missing; required: --dataset DIR with --masks"),
    (["simulate", "--frames", "-1"], "admn simulate: --frames: found -1; allowed: an integer from 1 to 1000000"),
    (["sheet", "b", "p", "--at", "nan"], "admn sheet: --at: found nan; allowed: a number from 0 to 1e+09"),
    (["profile", "m", "--watts", "inf"], "admn profile: --watts: found inf; allowed: a number from 0.001 to 1e+06"),
    (["tables", "c", "--out", "o", "--threads", "1000000000"], "admn tables: --threads: found 1000000000; allowed: "),
    (["evaluate", "x"], "admn evaluate: --out: missing; required: a value"),
    (["evaluate", "x", "--out", "o", "--lyrics"], "admn: unrecognized arguments: --lyrics"),
    (["convert", "pdf"], "admn convert: COMMAND: found 'pdf'; allowed: 'rgbd', 'bag'"),
    (["sing"], "admn: COMMAND: found 'sing'; allowed: 'new-model', ")])
def test_a_malformed_command_line_is_one_line(arguments, expected, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(expected) and len(line) < 3000


@pytest.mark.parametrize("name", COMMANDS)
def test_numbers_of_options_are_bounded(name):
    plain = [action.option_strings for action in COMMANDS[name]._actions if action.type in (int, float)]
    held = {spell(field) for plan in PLANS.get(name, (OptimizerConfig,)) for field in plan.model_fields}
    assert [words for words in plain if words[0] not in {*held, "--budget"}] == []


# --- plans from files ---------------------------------------------------------------------------------


def test_a_plan_is_read_from_a_file_and_changed_by_options(dataset, model, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump({"model": str(model), "budgets": [2, float("inf")], "limit": 4, "seed": 3}))
    common = ["evaluate", str(dataset), "--no-report"]
    assert main([*common, "--out", str(tmp_path / "a"), "--plan", str(plan), "--limit", "5"]) == 0
    assert main([*common, "--out", str(tmp_path / "b"), "--model", str(model), "--budgets", "2", "inf", "--limit", "5",
                 "--seed", "3"]) == 0
    a, b = ((tmp_path / name / "results.json").read_bytes() for name in "ab")
    assert a == b


def test_a_plan_for_recordings_names_its_deployment_file(bag, model, deployment, tmp_path):
    dump_config(deployment, tmp_path / "sensors.yaml")
    plan = {"model": str(model), "budgets": [3], "limit": 4,
            "bag": {"deployment": str(tmp_path / "sensors.yaml"), "hold_s": 1.0}}
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    assert main(["evaluate", str(bag), "--plan", str(tmp_path / "plan.yaml"), "--out", str(tmp_path / "out"), "--align",
                 "nearest", "--no-report"]) == 0
    settings = json.loads((tmp_path / "out" / "results.json").read_text())["settings"]
    assert settings["kind"] == "bag" and (settings["bag"]["hold_s"], settings["bag"]["align"]) == (1.0, "nearest")
    assert settings["bag"]["deployment"] == deployment.model_dump(mode="json")


@pytest.mark.parametrize(("text", "expected"), [
    ("seed: two", "plan.yaml: seed: found 'two'"), ("sede: 2", "plan.yaml: sede: found an unknown key"),
    ("[1, 2]", "plan.yaml: found no mapping"), ("bag: 3", "plan.yaml: found no mapping"),
    ("bag: {hold_s: 1}", "--sensors: missing; required: deployment file")])
def test_an_error_in_a_plan_names_the_file(text, expected, tmp_path, capsys):
    (tmp_path / "plan.yaml").write_text(text)
    (tmp_path / "data").mkdir()
    assert main(["evaluate", str(tmp_path / "data"), "--model", "m", "--out", str(tmp_path / "o"), "--plan",
                 str(tmp_path / "plan.yaml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


def test_a_folder_of_recordings_is_no_recording(tmp_path, deployment, write_bag, capsys):
    dump_config(deployment, tmp_path / "sensors.yaml")
    for name in ("run1/a", "run2/b"):
        write_bag(tmp_path / name, ticks=1)
    for command in (["inspect", str(tmp_path)],
                    ["evaluate", str(tmp_path), "--sensors", str(tmp_path / "sensors.yaml"), "--model", "gdtm",
                     "--out", str(tmp_path / "out")]):
        assert main(command) == 2
        assert "found a folder of recordings; allowed: one or several of them, such as run1/a, run2/b" in (
            capsys.readouterr().err), command


@pytest.mark.parametrize("name", ["gdtm", GDTM])
def test_a_deployment_file_is_given_by_its_path_or_its_name(name: str) -> None:
    values = with_deployment({"deployment": name, "hold_s": 1.0})
    assert values["hold_s"] == 1.0 and "node3" in values["deployment"]["sensors"]
