# SPDX-License-Identifier: Apache-2.0
"""`import admn_ros`: the public names, the shipped model, and frames made of arrays."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import admn_ros
from admn_ros.recordings.bag_types import message_folder
from admn_ros.share import find_shipped, share_directory


def test_every_public_name_is_there():
    for name in admn_ros.__all__:
        assert getattr(admn_ros, name) is not None
    assert set(admn_ros.__all__) <= set(dir(admn_ros))
    with pytest.raises(AttributeError, match="has no attribute 'Budgets'"):
        admn_ros.Budgets  # noqa: B018


def test_import_loads_no_room():
    code = "import sys, admn_ros; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'admn_ros.sample')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_shipped_model_runs_a_frame_of_arrays():
    model = admn_ros.load_model("gdtm", device="cpu")
    rng = np.random.default_rng(0)
    frame = admn_ros.SensorFrame.of({
        "node1/rgb": rng.integers(0, 256, (270, 480, 3), dtype=np.uint8),
        "node1/depth": rng.uniform(0.5, 5.0, (120, 160)).astype(np.float32)}, stamp_ns=5)
    estimate = model.infer(frame, admn_ros.Budget(1, "layers"))
    assert estimate.stamp_ns == 5
    assert estimate.allocation.layers == 1
    assert np.isfinite(estimate.mean_m).all()
    assert model.infer(frame).allocation.layers == 2  # every layer of the two modalities that are present


@pytest.mark.parametrize(("name", "message"), [
    ("rgb", "found 'rgb'; allowed: NODE/MODALITY"), ("node1/lidar", "found 'node1/lidar'; allowed: NODE/MODALITY")])
def test_names_of_inputs_are_checked(name: str, message: str):
    with pytest.raises(admn_ros.InputError, match=message):
        admn_ros.SensorFrame.of({name: np.zeros((4, 4, 3), np.uint8)})


def test_a_frame_needs_a_reading():
    with pytest.raises(admn_ros.InputError, match="readings: missing; required: at least one reading"):
        admn_ros.SensorFrame.of({})


def test_share_directory_of_an_installed_package(tmp_path, monkeypatch):
    """Moved away from the checkout, the package finds its files through AMENT_PREFIX_PATH."""
    from admn_ros import share

    (tmp_path / "ws/share/admn_ros").mkdir(parents=True)
    (tmp_path / "ws/share/admn_ros/package.xml").touch()
    monkeypatch.setattr(share, "__file__", str(tmp_path / "a/b/c/d/e/admn_ros/share.py"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'other'}:{tmp_path / 'ws'}")
    monkeypatch.setattr("sys.prefix", str(tmp_path / "elsewhere"))
    assert share_directory() == tmp_path / "ws/share/admn_ros"
    with pytest.raises(admn_ros.InputError, match=r"message definitions: found no .*ComputeBudget"):
        message_folder()


def test_a_path_is_taken_before_a_shipped_name(tmp_path, monkeypatch):
    assert find_shipped("gdtm", "models") == share_directory() / "models" / "gdtm"
    assert find_shipped("gdtm", "config", ".yaml") == share_directory() / "config" / "gdtm.yaml"
    assert str(find_shipped("nosuch", "models")) == "nosuch"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gdtm").mkdir()
    assert str(find_shipped("gdtm", "models")) == "gdtm"
    assert find_shipped("gdtm", "config", ".yaml").is_file(), "a folder is no deployment file"
