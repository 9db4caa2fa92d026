# SPDX-License-Identifier: Apache-2.0
"""The synchronizer's limits change while the node runs; a wandering clock is named. Over real DDS."""

from __future__ import annotations

import math
from pathlib import Path

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from sensor_msgs.msg import Image

from admn_ros.deployment import SyncConfig, SyncModality
from admn_ros.nodes.conversions import header
from admn_ros.nodes.perception.sync_parameters import sync_specs
from admn_ros.sample import Modality, SensorKey

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "deployment.md").read_text()
CONFIGURE, CLEANUP = 1, 2


def change(rig, **values: float) -> tuple[bool, str]:
    """Set parameters by the service, as `ros2 param set` does; `sync__depth__hold_s` is sync.depth.hold_s."""
    client = rig.driver.create_client(SetParametersAtomically, "/admn/set_parameters_atomically")
    request = SetParametersAtomically.Request(parameters=[
        ParameterMessage(name=name.replace("__", "."), value=ParameterValue(
            type=ParameterType.PARAMETER_DOUBLE, double_value=value)) for name, value in values.items()])
    result = rig.call(client, request).result
    rig.driver.destroy_client(client)
    return result.successful, result.reason


def test_parameters_are_the_files_fields_and_are_documented() -> None:
    specs = {s.name: s.default for s in sync_specs(SyncConfig(), Modality)}
    assert set(specs) == {"sync.silent_s"} | {f"sync.{m}.{f}" for m in Modality for f in SyncModality.model_fields}
    for modality in Modality:
        for field, value in SyncConfig().of(modality).model_dump().items():
            assert specs[f"sync.{modality}.{field}"] == value
    for name in ("sync.depth.tolerance_s", "sync.depth.offset_s", "sync.silent_s"):
        assert name in specs and name in DOCUMENT


def test_limits_begin_with_the_files_and_change_while_frames_go_on(rig):
    value = rig.node.value
    assert value("sync.rgb.hold_s") == 0.15 and value("sync.silent_s") == 0.3
    first = rig.frame()
    assert first.header.stamp.nanosec
    frames = rig.node.pipeline.frames
    sync = frames.synchronizer
    assert change(rig, sync__depth__offset_s=0.2, sync__rgb__wait_s=0.0, sync__silent_s=0.7) == (True, "")
    assert frames.sync.of(Modality.DEPTH).offset_s == 0.2 and frames.sync.of(Modality.RGB).wait_s == 0.0
    assert frames.sync.silent_s == 0.7
    # One invalid value among several changes refuses all of them, with the reason in one line.
    for wrong, expected in (
            ({"sync__rgb__hold_s": -1.0}, "sync.rgb.hold_s"), ({"sync__silent_s": 0.0}, "sync.silent_s"),
            ({"sync__rgb__tolerance_s": math.nan}, "tolerance_s"), ({"sync__radar__offset_s": math.inf}, "offset_s")):
        done, reason = change(rig, sync__audio__wait_s=0.01, **wrong)
        assert not done and expected in reason and "\n" not in reason
        assert value("sync.audio.wait_s") == frames.sync.of(Modality.AUDIO).wait_s == 0.03
    rig.frame()
    assert frames.synchronizer is sync and sync.stats().resets == 0


def test_start_up_beats_the_file_and_cleanup_takes_them_away(make_rig, model_folder, sensors_file):
    rig = make_rig(model=str(model_folder), sensors=str(sensors_file), **{"sync.rgb.hold_s": 0.05})
    for _ in range(2):
        assert rig.transition(CONFIGURE)
        assert rig.node.pipeline.frames.sync.of(Modality.RGB).hold_s == 0.05
        assert rig.transition(CLEANUP) and not rig.node.has_parameter("sync.rgb.hold_s")


def test_a_start_up_value_out_of_range_fails_configure(make_rig, model_folder, sensors_file, capfd):
    bad = make_rig(model=str(model_folder), sensors=str(sensors_file), **{"sync.rgb.hold_s": -0.05})
    assert not bad.transition(CONFIGURE) and bad.state() == "unconfigured"
    log = capfd.readouterr().err
    assert "on_configure: sync.rgb.hold_s: found" in log and "Traceback" not in log


def test_two_publishers_with_two_clocks_are_named_and_the_others_go_on(rig):
    other = rig.driver.create_publisher(Image, "/left/rgb", 5)
    assert rig.wait(other.get_subscription_count)
    key = SensorKey("left", Modality.RGB)

    def wandering() -> bool:
        rig.send()
        message = Image(header=header(rig.now_ns + 10**12, "camera"), height=1, width=1, encoding="rgb8", step=3)
        message.data.frombytes(bytes(3))
        other.publish(message)
        return rig.wait(lambda: rig.node.pipeline.frames.synchronizer.stats().inputs[key].wandering, 0.1)

    assert rig.wait(wandering)
    assert rig.wait(lambda: rig.send() and "jumped back while the other inputs went on" in rig.text("input left/rgb"))
    resets = rig.node.pipeline.frames.synchronizer.stats().resets
    stamp_ns = rig.send(skip=("left/rgb",))

    def framed() -> bool:
        return any(a.header.stamp.sec * 10**9 + a.header.stamp.nanosec >= stamp_ns and a.spent > 0
                   for a in rig.allocations)

    assert rig.wait(lambda: rig.send() and framed())
    assert rig.node.pipeline.frames.synchronizer.stats().resets == resets
