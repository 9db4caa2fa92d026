# SPDX-License-Identifier: Apache-2.0
"""Configuration: shipped files are valid, errors are one clear line, the documentation is correct."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Annotated, Any, get_args

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from admn_ros.benchmark.tables.config import TablesConfig
from admn_ros.budget.costs import MeasuredCosts
from admn_ros.config import DepthInput, ModelConfig, Objective, Strict, dump_config, load_config, parse_config
from admn_ros.deployment import (
    INPUT_TYPES,
    MESSAGE_TYPES,
    BudgetConfig,
    DeploymentConfig,
    InputTopic,
    NodeFrames,
    RadarGrid,
    SoundFormat,
    SyncConfig,
    SyncModality,
)
from admn_ros.errors import ConfigError
from admn_ros.evaluation.plan import BagPlan, EvaluationPlan
from admn_ros.governor.config import GovernorConfig
from admn_ros.inference.tracking import TrackerConfig
from admn_ros.model.official.legacy_network import LegacyConfig
from admn_ros.model.presets import PRESETS, preset
from admn_ros.replay.export_plan import ExportPlan
from admn_ros.sample import Modality
from admn_ros.sensing.preprocess.preprocessor import check_inputs
from admn_ros.training.settings import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
DEPLOYMENT = {"sensors": {"node1": {"rgb": {"topic": "/a"}, "depth": {"topic": "/b"}}}}
MODEL = {"name": "m", "trained": False, "sensor_nodes": ["node1"], "classes": ["x"],
         "modalities": {"rgb": {"input": {"kind": "rgb"}}}}


@pytest.mark.parametrize(("name", "fitting"), [
    ("gdtm", "gdtm-tiny"), ("rgbd", "rgbd"), ("mmfi", "mmfi"), ("ave", "ave")])
def test_shipped_deployments_load_and_fit_their_models(name, fitting):
    deployment = load_config(DeploymentConfig, ROOT / "config" / f"{name}.yaml")
    check_inputs(preset(fitting), deployment.inputs)
    assert deployment.budget.limit is not None


def test_a_deployment_with_unknown_inputs_is_refused():
    deployment = load_config(DeploymentConfig, ROOT / "config" / "gdtm.yaml")
    with pytest.raises(ConfigError, match=r"node1.*allowed.*camera"):
        check_inputs(preset("rgbd"), deployment.inputs)


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_are_the_same_after_writing_and_reading(name, tmp_path):
    path = tmp_path / "config.yaml"
    dump_config(preset(name), path)
    assert load_config(ModelConfig, path) == preset(name)


@pytest.mark.parametrize(("change", "field", "allowed"), [
    ({"sync": {"timeout": 1}}, "sync.timeout", "silent_s"),
    ({"sync": {"silent_s": "long"}}, "sync.silent_s", "number"),
    ({"sync": {"silent_s": -1}}, "sync.silent_s", "greater than 0"),
    ({"sync": {"silent_s": float("nan")}}, "sync.silent_s", "finite"),
    ({"sync": {"modalities": {"lidar": {}}}}, "sync.modalities.lidar", "'rgb', 'depth', 'radar'"),
    ({"sync": {"modalities": {"rgb": {"hold": 1}}}}, "sync.modalities.rgb.hold", "hold_s"),
    ({"sensors": {}}, "sensors", "at least 1"),
    ({"sensors": {"node 1": {"rgb": {"topic": "/a"}}}}, "sensors.node 1", "pattern"),
    ({"sensors": {"node1": {"rgb": {"topic": "a b"}}}}, "sensors.node1.rgb.topic", "pattern"),
    ({"sensors": {"node1": {"rgb": {"topic": 7}}}}, "sensors.node1.rgb.topic", "string"),
    ({"sensors": {"a": {"rgb": {"topic": "/x"}}, "b": {"rgb": {"topic": "/x"}}}}, "sensors", "used by both"),
    ({"sensors": {"a": {"rgb": {"topic": "/x", "type": "point_cloud"}}}}, "sensors", "use image, compressed_image"),
    ({"sensors": {"a": {"rgb": {"topic": "/x", "type": "jpeg"}}}}, "sensors.a.rgb.type", "'compressed_image'"),
    ({"sensors": {"a": {"rgb": {"topic": "/x", "grid": {}}}}}, "sensors", "point_cloud and radar_scan, not to image"),
    ({"sensors": {"a": {"audio": {"topic": "/x", "sound": {}}}}}, "sensors", "audio_data, not to audio_frame"),
    ({"sensors": {"a": {"rgb": {"topic": "/x", "compressed": True}}}}, "sensors.a.rgb.compressed", "topic, type"),
    ({"budget": {"limit": -3}}, "budget.limit", "greater than or equal to 0"),
    ({"budget": {"unit": "furlongs"}}, "budget.unit", "'layers'"),
    ({"sensor": {}}, "sensor", "sensors, sync, budget"),
])
def test_an_invalid_deployment_is_one_line_with_field_found_and_allowed(tmp_path, change, field, allowed):
    path = tmp_path / "d.yaml"
    path.write_text(yaml.safe_dump(DEPLOYMENT | change))
    with pytest.raises(ConfigError) as caught:
        load_config(DeploymentConfig, path)
    assert f"d.yaml: {field}: found" in str(caught.value)
    assert allowed in str(caught.value.allowed) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("change", "says"), [
    ({"modalities": {"rgb": {"input": {"kind": "depth"}}}}, "kind is 'depth', must be 'rgb'"),
    ({"modalities": {"rgb": {"input": {"kind": "rgb", "height": 50}}}}, "not a multiple of backbone.patch"),
    ({"modalities": {"rgb": {"input": {"kind": "rgb"}, "backbone": {"dim": 10, "heads": 3}}}}, "does not divide"),
    ({"localization": {"min_m": [1, 1], "max_m": [0, 2]}}, "must be below"),
    ({"classes": ["x", "x"]}, "repeats a name"),
    ({"layer_costs": {"audio": 3}}, "layer_costs has"),
    ({"layer_costs": {"depth": 0}}, "layer_costs"),
    ({"format": "other"}, "admn-model-1"),
])
def test_an_inconsistent_model_is_refused(change, says):
    with pytest.raises(ConfigError, match=re.escape(says)):
        parse_config(ModelConfig, MODEL | change, "m")


def test_missing_files_and_invalid_yaml_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.yaml: found No such file.*allowed: a readable YAML file"):
        load_config(DeploymentConfig, tmp_path / "nothing.yaml")
    for text, says in (("a: [1", "broken YAML"), ("- 1", "list"), ("", "found nothing")):
        (tmp_path / "x.yaml").write_text(text)
        with pytest.raises(ConfigError, match=says):
            load_config(DeploymentConfig, tmp_path / "x.yaml")
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(DeploymentConfig, tmp_path / "x.yaml")


def test_a_name_that_is_not_utf_8_is_one_short_line():
    plan = {"sensors": {"node1": {"rgb": {"topic": "/a"}}, "node2": {"rgb": {"topic": "/b\udcff"}}}}
    with pytest.raises(ConfigError) as refused:
        parse_config(DeploymentConfig, plan, "options")
    assert str(refused.value) == r"options: found '/b\udcff'; allowed: text in UTF-8"


def test_a_duplicate_key_is_refused(tmp_path):
    path = tmp_path / "d.yaml"
    path.write_text("sensors: {a: {rgb: {topic: /x, topic: /y}}}\n")
    with pytest.raises(ConfigError, match="duplicate key topic"):
        load_config(DeploymentConfig, path)


def test_yaml_cannot_run_code(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(f"sensors: !!python/object/apply:os.system ['touch {tmp_path}/made']")
    with pytest.raises(ConfigError):
        load_config(DeploymentConfig, path)
    assert not (tmp_path / "made").exists()


def test_depth_range_must_be_in_order():
    with pytest.raises(ValueError, match="below"):
        DepthInput(min_m=5.0, max_m=2.0)


def test_frames_do_not_wait_for_radar_by_default():
    assert SyncConfig().of(Modality.RADAR).wait_s == 0.0 < SyncConfig().of(Modality.RGB).wait_s
    asked = parse_config(SyncConfig, {"modalities": {"radar": {"wait_s": 0.2}}}, "s")
    assert asked.of(Modality.RADAR).wait_s == 0.2


def test_every_field_of_every_message_is_documented():
    for path in sorted((ROOT / "msg").glob("*.msg")):
        described = False
        for line in path.read_text().splitlines():
            stripped = line.strip()
            if not stripped:
                described = False
            elif stripped.startswith("#"):
                described = True
            else:
                assert described, f"{path.name}: {stripped} has no comment"


SECTIONS = {"sensors.NODE.MODALITY": InputTopic, "sensors.NODE.radar.grid": RadarGrid,
            "sensors.NODE.audio.sound": SoundFormat, "sync": SyncConfig, "sync.modalities.MODALITY": SyncModality,
            "budget": BudgetConfig, "frames.NODE": NodeFrames}
DOCUMENT = (ROOT / "docs" / "deployment.md").read_text()


@pytest.mark.parametrize("section", list(SECTIONS))
def test_every_key_of_a_deployment_is_documented_with_its_default(section):
    body = DOCUMENT.split(f"## `{section}`\n")[1].split("\n## ")[0]
    rows = {r[0]: r[1] for r in re.findall(r"^\| `(\w+)` \| ([^|]*?) ?\|", body, flags=re.M)}
    fields = SECTIONS[section].model_fields
    assert set(fields) <= set(rows)
    for name, field in fields.items():
        if field.is_required() or name == "modalities":
            assert not rows[name], name
            continue
        default = field.get_default()
        written = ", ".join(map(str, default)) if isinstance(default, tuple) else default
        assert rows[name] == (written if isinstance(written, str) else yaml.safe_dump(written).split("\n")[0]), name


def test_the_documented_example_and_types_are_real():
    example = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", DOCUMENT, flags=re.S)[0])
    deployment = parse_config(DeploymentConfig, example, "docs/deployment.md")
    assert set(example) == set(DeploymentConfig.model_fields) and len(deployment.inputs) == 4
    for modality, types in INPUT_TYPES.items():
        part = re.search(rf"^\| {modality} \| `{types[0]}`.*?(?=^\| \w|^$)", DOCUMENT, flags=re.M | re.S).group(0)
        found = re.findall(r"\| `(\w+)` \| `(\w+/\w+)`", part)
        assert [(t, MESSAGE_TYPES[t].replace("/msg", "")) for t in types] == found


HANDWRITTEN = (DeploymentConfig, ModelConfig, TrainConfig, TablesConfig, EvaluationPlan, BagPlan, ExportPlan,
               TrackerConfig, GovernorConfig, LegacyConfig, MeasuredCosts)


def parts(kind: Any, seen: set[type]) -> None:
    """Collect the configurations inside of a type."""
    if isinstance(kind, type) and issubclass(kind, Strict) and kind not in seen:
        seen.add(kind)
        for field in kind.model_fields.values():
            parts(field.annotation, seen)
    for inner in get_args(kind):
        parts(inner, seen)


def test_every_number_of_a_file_is_bounded():
    kinds: set[type] = set()
    for kind in HANDWRITTEN:
        parts(kind, kinds)
    assert len(kinds) > 30
    unbounded = []
    for kind in sorted(kinds, key=lambda kind: kind.__name__):
        for name, field in kind.model_fields.items():
            number = TypeAdapter(Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation)
            for value in ("1" + "0" * 30, "1e300", "NaN", "-Infinity"):
                lists = (f"[{', '.join([value] * count)}]" for count in (1, 2, 3))
                for text in (value, *lists, f'{{"rgb": {value}}}', f'{{"a": {value}}}'):
                    with contextlib.suppress(ValidationError):
                        number.validate_json(text, strict=True)
                        unbounded.append(f"{kind.__name__}.{name}: {value}")
    assert not unbounded


def test_a_short_mapping_that_contradicts_itself_is_shown():
    with pytest.raises(ConfigError, match=r"^objective: found position: 0, classification: 0\.0; allowed: pos"):
        parse_config(Objective, {"position": 0, "classification": 0.0}, "objective")
    with pytest.raises(ConfigError, match="position: found this mapping; allowed: "):
        parse_config(Objective, {"position": dict.fromkeys(range(100), 0)}, "objective")
