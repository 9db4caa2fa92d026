# SPDX-License-Identifier: Apache-2.0
"""Presets: levels and frequencies of the paper, one draw for all nodes, and correct labels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from admn_ros.errors import InputError
from admn_ros.sample import Modality, SensorKey
from admn_ros.sensing.corruption.corruption import CorruptionLabel, GaussianNoise
from admn_ros.sensing.corruption.draws import CorruptionPreset, Draw, Environment, apply_draws
from admn_ros.sensing.corruption.presets import CORRUPTIONS, corruption_preset

RGB, DEPTH, RADAR, AUDIO = Modality.RGB, Modality.DEPTH, Modality.RADAR, Modality.AUDIO
NODES = ("node1", "node2", "node3")
DRAWS = 3000


def labels(preset: CorruptionPreset, scene: Environment = "indoor",
           count: int = DRAWS) -> list[dict[Modality, CorruptionLabel]]:
    rng = np.random.default_rng(11)
    return [{m: d.label for m, d in preset.draw(rng, scene).items()} for _ in range(count)]


def shares(values: list[object]) -> dict[object, float]:
    return {k: n / len(values) for k, n in Counter(values).items()}


def readings(nodes: tuple[str, ...] = NODES) -> dict[SensorKey, np.ndarray]:
    t = np.arange(2000, dtype=np.float32)[:, None]
    data = {RGB: np.full((48, 64, 3), 200, np.uint8), DEPTH: np.full((48, 64), 3, np.float32),
            RADAR: np.full((32, 16), 5, np.float32), AUDIO: np.repeat(0.1 * np.sin(t / 5), 2, axis=1)}
    return {SensorKey(n, m): x.copy() for n in nodes for m, x in data.items()}


@pytest.mark.parametrize(("name", "rgb", "depth"), [
    ("gdtm-gaussian", (0, 1, 2, 3), (0, 0.25, 0.5, 0.75)), ("mmfi-gaussian", (0, 0.75, 1.5, 2), (0, 2, 3, 4))])
def test_gaussian_levels_are_the_papers_and_independent(name: str, rgb: tuple[float, ...],
                                                        depth: tuple[float, ...]) -> None:
    drawn = labels(corruption_preset(name))
    pairs = shares([(round(x[RGB].value, 9), round(x[DEPTH].value, 9)) for x in drawn])
    assert set(pairs) == {(r, d) for r in rgb for d in depth}
    assert all(share == pytest.approx(1 / 16, abs=0.02) for share in pairs.values())
    assert {(x[RGB].level, round(x[RGB].value, 9)) for x in drawn} == set(enumerate(rgb))
    assert {(x[DEPTH].level, round(x[DEPTH].value, 9)) for x in drawn} == set(enumerate(depth))
    assert {x[RGB].kind for x in drawn} == {"clean", "gaussian"}


@pytest.mark.parametrize(("name", "rgb", "depth"), [("gdtm-gaussian", 3.0, 0.75), ("mmfi-gaussian", 2.0, 3.0)])
def test_gaussian_of_the_code_is_continuous(name: str, rgb: float, depth: float) -> None:
    drawn = labels(corruption_preset(name, "code"))
    for modality, largest in ((RGB, rgb), (DEPTH, depth)):
        sigmas = np.array([x[modality].value for x in drawn])
        assert np.quantile(sigmas, [0.25, 0.5, 0.75]) == pytest.approx(largest * np.array([0.25, 0.5, 0.75]), rel=0.1)
        assert 0.98 * largest < sigmas.max() <= largest
        assert {x[modality].level for x in drawn} == {-1}


def test_lowlight_is_three_equal_conditions() -> None:
    drawn = labels(corruption_preset("gdtm-lowlight"))
    found = shares([(x[RGB].level, round(x[RGB].value, 6), x[DEPTH].kind, x[DEPTH].severity) for x in drawn])
    assert found == {(0, 0.0, "saturation", 1.0): pytest.approx(1 / 3, abs=0.03),
                     (1, 5.0, "clean", 0.0): pytest.approx(1 / 3, abs=0.03),
                     (2, 100.0, "clean", 0.0): pytest.approx(1 / 3, abs=0.03)}


def test_blur_is_three_equal_conditions_of_rgb() -> None:
    drawn = labels(corruption_preset("gdtm-blur"))
    assert {x[DEPTH].kind for x in drawn} == {"clean"}
    found = shares([(x[RGB].level, x[RGB].value) for x in drawn])
    assert found == {(0, 0.0): pytest.approx(1 / 3, abs=0.03), (1, 51.0): pytest.approx(1 / 3, abs=0.03),
                     (2, 201.0): pytest.approx(1 / 3, abs=0.03)}


@pytest.mark.parametrize(("scene", "image", "audio"), [
    ("outdoor", "rain+lowlight", "wind"), ("indoor", "lowlight", "fan")])
def test_ave_corrupts_image_or_audio(scene: Environment, image: str, audio: str) -> None:
    found = shares([(x[RGB].kind, x[AUDIO].kind) for x in labels(corruption_preset("ave-rain-noise"), scene)])
    assert found == {(image, "clean"): pytest.approx(1 / 2, abs=0.03), ("clean", audio): pytest.approx(1 / 2, abs=0.03)}
    found = shares([(x[RGB].kind, x[AUDIO].kind) for x in labels(corruption_preset("ave-rain-noise", "code"), scene)])
    quarter = pytest.approx(1 / 4, abs=0.03)
    assert found == {(image, "clean"): quarter, ("clean", audio): quarter, (image, audio): quarter,
                     ("clean", "clean"): quarter}
    paper, stage_2 = (labels(corruption_preset("ave-rain-noise", v), scene) for v in ("paper", "code_controller"))
    assert paper == stage_2
    with pytest.raises(InputError, match="scene"):
        corruption_preset("ave-rain-noise").draw(np.random.default_rng(0), "space")


def test_three_modalities() -> None:
    drawn = labels(corruption_preset("gdtm-three-modalities"))
    found = shares([tuple(round(x[m].value, 9) for m in (RGB, DEPTH, RADAR)) for x in drawn])
    assert found == {(r, d, m): pytest.approx(1 / 8, abs=0.025) for r in (0, 3) for d in (0, 0.75) for m in (0, 0.8)}
    code = shares([tuple(x[m].severity > 0 for m in (RGB, DEPTH, RADAR))
                   for x in labels(corruption_preset("gdtm-three-modalities", "code"))])
    assert (True, True, True) not in code
    assert labels(corruption_preset("gdtm-three-modalities", "code_controller")) == labels(
        corruption_preset("gdtm-three-modalities", "code"))
    assert code[True, False, True] == pytest.approx(1 / 4, abs=0.03)


def test_room_gaussian() -> None:
    drawn = labels(corruption_preset("room-gaussian"))
    found = shares([(x[RGB].level, x[RADAR].level) for x in drawn])
    assert found == {(r, m): pytest.approx(1 / 16, abs=0.02) for r in range(4) for m in range(4)}
    assert {round(x[RGB].value, 9) for x in drawn} == {0.0, 0.25, 0.5, 1.0}
    assert {round(x[RADAR].severity, 3) for x in drawn} == {0.0, 0.1, 0.2, 0.4}


def test_room_gaussian_of_rgb_and_depth() -> None:
    drawn = labels(corruption_preset("room-gaussian-rgbd"))
    found = shares([(x[RGB].level, x[DEPTH].level) for x in drawn])
    assert found == {(r, d): pytest.approx(1 / 16, abs=0.02) for r in range(4) for d in range(4)}
    assert {round(x[RGB].value, 9) for x in drawn} == {0.0, 0.25, 0.5, 1.0}
    assert {round(x[DEPTH].value, 9) for x in drawn} == {0.0, 0.05, 0.1, 0.2}


def test_room_lowlight_and_blur() -> None:
    found = shares([(x[RGB].level, x[RADAR].level) for x in labels(corruption_preset("room-lowlight"))])
    assert found == {pair: pytest.approx(1 / 3, abs=0.03) for pair in ((0, 1), (1, 0), (2, 0))}
    drawn = labels(corruption_preset("room-blur"))
    found = shares([(x[RGB].level, x[RADAR].level) for x in drawn])
    assert found == {(r, m): pytest.approx(1 / 6, abs=0.02) for r in range(3) for m in range(2)}
    assert {x[RGB].kind for x in drawn} == {"clean", "blur"}


def test_room_all() -> None:
    drawn = labels(corruption_preset("room-all"))
    for modality in Modality:
        kinds = shares([x[modality].kind for x in drawn])
        assert kinds["clean"] == pytest.approx(0.4, abs=0.04)
        assert kinds["dropout"] > 0.05
        assert len(kinds) >= 4
        continuous = [x[modality].severity for x in drawn if x[modality].kind not in ("clean", "dropout")]
        assert np.mean(continuous) == pytest.approx(0.5, abs=0.05)
    assert all(min(label.severity for label in x.values()) < 0.4 for x in drawn)
    single = labels(corruption_preset("room-all", modalities=[RADAR]), count=500)
    assert {m for x in single for m in x} == {RADAR}
    assert all(x[RADAR].severity < 0.4 for x in single)
    assert {x[RADAR].kind for x in single} == {"clean", "radar_noise", "interference"}


def test_room_severe_begins_where_room_all_ends_and_room_unseen_shares_no_kind() -> None:
    known, severe, unseen = (labels(corruption_preset(f"room-{name}")) for name in ("all", "severe", "unseen"))
    stronger = {"lowlight", "blur", "rain", "radar_noise", "interference"}
    for modality, kind in ((RGB, "gaussian"), (DEPTH, "gaussian"), (AUDIO, "gaussian"), *((m, k) for k in stronger
                           for m in ((RADAR,) if k in ("radar_noise", "interference") else (RGB,)))):
        trained, beyond = ([x[modality].value for x in drawn if x[modality].kind == kind] for drawn in (known, severe))
        assert 0.95 * max(trained) < min(beyond) <= 1.15 * max(trained), kind
        assert max(beyond) > 1.8 * max(trained), kind
    for kind in ("wind", "fan"):   # decibels of the sound over the noise
        trained, beyond = ([x[AUDIO].value for x in drawn if x[AUDIO].kind == kind] for drawn in (known, severe))
        assert max(beyond) <= min(trained) + 2 and min(beyond) < min(trained) - 30, kind
    kinds = [{x[m].kind for x in drawn for m in Modality} for drawn in (known, unseen)]
    assert kinds[0] & kinds[1] == {"clean"} and len(kinds[1]) == 5


def test_room_missing_always_spares_one_modality_and_loses_single_nodes() -> None:
    preset, lost = corruption_preset("room-missing"), Counter()
    for seed in range(300):
        bad, labelled = preset(readings(), np.random.default_rng(seed))
        nodes = {m: sum(k.modality is m for k in bad) for m in Modality}
        assert any(labelled[m].kind == "clean" and nodes[m] == 3 for m in Modality)
        assert all(nodes[m] == 0 for m in Modality if labelled[m].severity == 1)
        lost.update(nodes.values())
    assert all(lost[n] > 50 for n in range(4))


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if not corruption_preset(name).temporal])
def test_labels_match_what_happened_and_the_seed_fixes_it(name: str) -> None:
    preset = corruption_preset(name)
    clean = readings()
    seen = set()
    for seed in range(12):
        bad, labelled = preset(clean, np.random.default_rng(seed))
        assert set(labelled) == set(preset.modalities)
        for key, data in clean.items():
            label = labelled.get(key.modality, CorruptionLabel())
            seen.add(label.kind)
            if label.kind == "dropout":
                assert key not in bad or (label.severity < 1 and bad[key] is data)
            elif label.severity == 0:
                assert bad[key] is data
            else:
                assert (bad[key].shape, bad[key].dtype) == (data.shape, data.dtype)
                # a picture without edges has nothing to blur
                assert label.kind == "blur" or not np.array_equal(bad[key], data)
        again = preset(clean, np.random.default_rng(seed))
        assert again.labels == labelled
        assert again.readings.keys() == bad.keys()
        assert all(np.array_equal(again.readings[k], bad[k], equal_nan=bad[k].dtype.kind == "f") for k in bad)
        assert again.severities == {m: x.severity for m, x in labelled.items()}
    assert len(seen) > 1


def test_one_draw_for_all_nodes_with_noise_of_their_own() -> None:
    preset = corruption_preset("gdtm-gaussian")
    draws = next(d for d in map(preset.draw, map(np.random.default_rng, range(99))) if d[RGB].severity > 0)
    bad = apply_draws(readings(), draws, np.random.default_rng(5))
    images = [bad[SensorKey(n, RGB)].astype(int) for n in NODES]
    assert not np.array_equal(images[0], images[1])
    assert np.std([i.mean() for i in images]) < 3
    # what one node gets does not depend on which others there are, nor on their order
    alone = apply_draws(dict(reversed(readings(("node2", "node1")).items())), draws, np.random.default_rng(5))
    assert np.array_equal(alone[SensorKey("node2", RGB)], images[1])
    # the next frame of the same sample: same draw, new noise
    rng = np.random.default_rng(5)
    frames = [apply_draws(readings(("node1",)), draws, rng)[SensorKey("node1", RGB)] for _ in range(2)]
    assert not np.array_equal(*frames)


def test_paper_noise_falls_on_invalid_depth_too() -> None:
    depth = {SensorKey("node1", DEPTH): np.full((20, 20), np.nan, np.float32)}
    for seed in range(20):
        draw = corruption_preset("gdtm-three-modalities").draw(np.random.default_rng(seed))
        bad = apply_draws(depth, draw, np.random.default_rng(0))[SensorKey("node1", DEPTH)]
        assert np.isnan(bad).all() == (draw[DEPTH].severity == 0)


def test_errors_name_the_input_and_the_choices() -> None:
    wrong = {SensorKey("node2", RGB): np.zeros((4, 4), np.uint8)}
    with pytest.raises(InputError, match=r"node2/rgb\.rgb"):
        apply_draws(wrong, {RGB: Draw(GaussianNoise(RGB), 0.5, -1)}, np.random.default_rng(0))
    with pytest.raises(InputError, match="gdtm-blur"):
        corruption_preset("fog")
    with pytest.raises(InputError, match="paper or code or code_controller"):
        corruption_preset("gdtm-blur", "mine")
    with pytest.raises(InputError, match="modalities"):
        corruption_preset("room-all", modalities=[])
