# SPDX-License-Identifier: Apache-2.0
"""Exported folders: what is in them, and one clear error for each way in which they do not fit."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from admn_ros.cli import main
from admn_ros.errors import AdmnError
from admn_ros.inference.engine import Engine
from admn_ros.inference.model import load_engine
from admn_ros.inference.onnx.export import export_model
from admn_ros.inference.onnx.sessions import TENSORRT, Place
from admn_ros.inference.runtime import RuntimeChoice
from admn_ros.model.checkpoint import create_random_model
from admn_ros.model.official.import_checkpoint import import_checkpoint
from helpers import models
from helpers import official_network as official

pytestmark = pytest.mark.slow  # tracing a network takes seconds

ONNX = RuntimeChoice("onnxruntime")
FILES = {"README.md", "config.yaml", "weights.safetensors", "onnx"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an exported model."""
    folder = tmp_path_factory.mktemp("exported")
    create_random_model(models.one_node(), folder / "model", seed=0)
    export_model(folder / "model", folder / "out")
    return folder / "out"


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def refusal(folder: Path | str, choice: RuntimeChoice = ONNX, device: str = "cpu") -> str:
    with pytest.raises(AdmnError) as error:
        load_engine(folder, device, 1, choice)
    return str(error.value)


def test_the_folder_is_a_model_of_both_runtimes(exported: Path):
    assert {p.name for p in exported.iterdir()} == FILES
    depths = models.one_node().depths
    assert len(list((exported / "onnx").glob("*.onnx"))) == 2 + 3 * len(depths) + sum(depths.values())
    assert Engine(exported, "cpu", 1).runtime_name == "torch"


def test_graphs_without_a_package_for_export_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    create_random_model(models.one_node(), tmp_path / "model", seed=0)

    def without(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(AdmnError, match=r'package onnx: missing; required: pip install "onnx>='):
        export_model(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_runtime_names_the_command_that_installs_it(copy: Path, monkeypatch: pytest.MonkeyPatch):
    def without(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", without)
    assert refusal(copy).startswith('package onnxruntime: missing; required: pip install "onnxruntime>=')


def test_a_model_without_graphs_names_the_command_that_writes_them(tmp_path: Path):
    create_random_model(models.one_node(), tmp_path / "model", seed=0)
    assert "required: graphs for engine onnxruntime; `admn export" in refusal(tmp_path / "model")
    assert "required: graphs for engine onnxruntime" in refusal("untrained:gdtm-tiny")


def test_graphs_of_other_weights_are_refused(copy: Path, tmp_path: Path):
    create_random_model(models.one_node(), tmp_path / "other", seed=1)
    shutil.copyfile(tmp_path / "other" / "weights.safetensors", copy / "weights.safetensors")
    assert "of another configuration or of other weights" in refusal(copy)


@pytest.mark.parametrize("content", [b"", b"not a graph"], ids=["empty", "text"])
def test_a_damaged_graph_is_named(copy: Path, content: bytes):
    (copy / "onnx" / "fusion.onnx").write_bytes(content)
    assert refusal(copy).startswith(f"{copy / 'onnx' / 'fusion.onnx'}: found a file that changed")


def test_a_missing_graph_is_named(copy: Path):
    (copy / "onnx" / "block_rgb_01.onnx").unlink()
    assert refusal(copy).startswith(f"{copy / 'onnx' / 'block_rgb_01.onnx'}: missing")


def test_a_graph_that_the_runtime_cannot_read_is_named(copy: Path):
    from admn_ros.files import fingerprint

    graph, manifest = copy / "onnx" / "fusion.onnx", copy / "onnx" / "export.yaml"
    before = fingerprint([graph], graph.parent, whole=True)
    graph.write_bytes(b"of a version to come")
    after = fingerprint([graph], graph.parent, whole=True)
    manifest.write_text(manifest.read_text().replace(before, after))
    assert refusal(copy).startswith(f"{graph}: found a graph that ONNX Runtime ")


def test_graphs_of_another_format_are_refused(copy: Path):
    manifest = copy / "onnx" / "export.yaml"
    manifest.write_text(manifest.read_text().replace("admn-onnx-1", "admn-onnx-9"))
    assert "admn-onnx-9" in refusal(copy)


@pytest.mark.parametrize(("choice", "device", "message"), [
    pytest.param(("onnxruntime", ("NoProvider",)), "cpu", "providers: found NoProvider", id="provider"),
    pytest.param(("onnxruntime",), "cuda", "device: found cuda", id="device")])
def test_what_this_onnx_runtime_lacks_is_named(exported: Path, choice: tuple[Any, ...], device: str, message: str):
    assert refusal(exported, RuntimeChoice(*choice), device).startswith(message)


@pytest.mark.parametrize(("choice", "message"), [
    pytest.param(("tensorflow",), "engine: found tensorflow; allowed: torch, onnxruntime", id="engine"),
    pytest.param(("torch", ("CPUExecutionProvider",)), "providers: conflicts with engine torch", id="providers"),
    pytest.param(("onnxruntime", (), "float16"), "precision float16: conflicts with engine onnx", id="precision"),
    pytest.param(("onnxruntime", (TENSORRT,), "bfloat16"), "precision bfloat16: conflicts", id="TensorRT")])
def test_choices_that_do_not_exist_are_refused(choice: tuple[Any, ...], message: str):
    with pytest.raises(AdmnError, match=message):
        RuntimeChoice(*choice)


@pytest.mark.parametrize("half", [False, True])
def test_tensorrt_keeps_what_it_compiled_apart_for_every_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                               half: bool):
    monkeypatch.setenv("ADMN_CACHE", str(tmp_path))
    place = Place(1, (TENSORRT, "CPUExecutionProvider"), half)
    (name, options), cpu = place.with_options("a" * 64)
    assert (name, cpu) == (TENSORRT, "CPUExecutionProvider")
    assert options["trt_fp16_enable"] == str(half) and options["trt_engine_cache_enable"] == "True"
    assert options["trt_engine_cache_path"].startswith(str(tmp_path))
    assert options["trt_engine_cache_path"] != place.with_options("b" * 64)[0][1]["trt_engine_cache_path"]


def test_a_model_that_is_there_is_replaced_with_force_only(exported: Path, tmp_path: Path,
                                                          capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    create_random_model(models.images(), out, seed=0)
    assert main(["export", str(exported), str(out)]) == 2
    assert "files of a model" in capsys.readouterr().err
    assert main(["export", str(exported), str(out), "--force"]) == 0
    assert main(["inspect", str(out)]) == 0
    assert "engine onnxruntime: 14 graphs" in capsys.readouterr().out


def test_networks_of_the_official_release_are_refused(tmp_path: Path):
    torch.save(official.admn_state("gdtm"), tmp_path / "official.pt")
    import_checkpoint(tmp_path / "official.pt", tmp_path / "model")
    with pytest.raises(AdmnError, match="found a network of the official release"):
        export_model(tmp_path / "model", tmp_path / "out")
