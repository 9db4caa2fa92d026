# SPDX-License-Identifier: Apache-2.0
"""The recording that the package ships: content, provenance, and the deployment that goes with it."""

from __future__ import annotations

import hashlib
import json
import re

import numpy as np
import pytest

from admn_ros.config import load_config
from admn_ros.deployment import DeploymentConfig
from admn_ros.recordings.bag_reader import BagReader
from admn_ros.sample import Modality
from admn_ros.sensing.decode.audio_messages import SoundDecoder
from admn_ros.sensing.decode.decoders import decode_picture
from admn_ros.simulation.events import demo_events
from admn_ros.simulation.recording import BUDGET_EVERY_S, BUDGET_LAYERS, NOTE
from helpers.demo_recording import DEMO_BAG, DEMO_SENSORS

SHAPES = {Modality.RGB: (72, 128, 3), Modality.DEPTH: (60, 80), Modality.RADAR: (128, 64)}


def test_the_readme_names_the_file_that_is_there():
    text = (DEMO_BAG / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"[0-9a-f]{64}", text)
    assert hashlib.sha256((DEMO_BAG / "demo.mcap").read_bytes()).hexdigest() == found
    assert "admn simulate --bag config/demo --frames 180 --seed 7 --quality small --target red_car --compact" in text


def test_it_is_small_and_holds_every_input_of_its_deployment():
    assert sum(p.stat().st_size for p in DEMO_BAG.iterdir()) < 8e6
    deployment = load_config(DeploymentConfig, DEMO_SENSORS)
    with BagReader(DEMO_BAG) as reader:
        assert 11.9 < (reader.end_ns - reader.start_ns) * 1e-9 < 12.1
        assert [t for t, info in reader.topics.items() if info.latched] == ["/tf_static"]
        assert len(deployment.inputs) == 12
        assert {f"/{e.topic}" for e in deployment.inputs.values()} <= set(reader.topics)
        counts = {str(key): reader.topics[f"/{e.topic}"].count for key, e in deployment.inputs.items()}
        assert counts["node1/rgb"] == counts["node3/depth"] == 180
        assert counts["node2/rgb"] == 150 and counts["node2/radar"] == 42
        for key, entry in deployment.inputs.items():
            _, _, message = next(reader.messages([f"/{entry.topic}"]))
            if key.modality is Modality.AUDIO:
                samples, rate_hz = SoundDecoder(entry).decode(message, 1)
                assert samples.shape == (1056, 4) and rate_hz == 16000 and 0.001 < samples.std() < 0.3
            else:
                array = decode_picture(key.modality, entry, message)
                assert array.shape == SHAPES[key.modality] and np.isfinite(array).mean() > 0.4


def test_failures_and_budgets_are_where_its_metadata_has_them():
    with BagReader(DEMO_BAG) as reader:
        note = json.loads(reader.custom_data[NOTE])
        events = {e.kind: e for e in demo_events(12.0, ["node1", "node2", "node3"])}
        assert note["seed"] == 7 and note["target"] == "red_car"
        assert [(e["kind"], e["start_s"], e["end_s"]) for e in note["events"]] == [
            (e.kind, e.start_s, e.end_s) for e in events.values()]
        start_s = reader.start_ns * 1e-9
        for kind, topic in (("topic_dead", "/node2/rgb/image_raw/compressed"),
                            ("radar_missing", "/node1/radar/range_azimuth")):
            times = np.array([stamp_ns * 1e-9 - start_s for _, stamp_ns, _ in reader.raw([topic])])
            quiet = times[:-1][np.diff(times) > 1.0]
            assert quiet == pytest.approx([events[kind].start_s], abs=0.3)
        limits = [m.limit for _, _, m in reader.messages(["/admn/budget"])]
        assert limits == list(BUDGET_LAYERS) and BUDGET_EVERY_S * len(limits) == 12
        x, y = np.array([(m.pose.position.x, m.pose.position.y)
                         for _, _, m in reader.messages(["/ground_truth/pose"])]).T
        assert len(x) > 700 and np.abs(x).max() < 1.5 and np.abs(y).max() < 1.8 and np.ptp(x) > 1
