# SPDX-License-Identifier: Apache-2.0
"""Sensor models of the cameras: exposure, noise and invalid depth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.errors import InputError
from admn_ros.simulation.camera.camera_physics import DEPTH_STEP_M, depth_cosine, expose, measure_depth

GREY = np.full((60, 80, 3), 128, np.uint8)
PLAIN = {"exposure": 1.0, "colour_cast": (1, 1, 1), "vignetting": 0.0, "blur_px": 0.0}


def generator() -> np.random.Generator:
    return np.random.default_rng(5)


def flat(metres: float) -> np.ndarray:
    return np.full((120, 160), metres, np.float32)


def missing(depth: np.ndarray) -> float:
    return float(np.isnan(depth).mean())


def test_a_neutral_exposure_keeps_the_image() -> None:
    shot = expose(GREY, generator(), iso=100, **PLAIN)
    assert shot.mean() == pytest.approx(128, abs=1)
    assert 0.2 < shot.std() < 3


def test_effects_of_exposure_cast_iso_vignetting_and_blur() -> None:
    def shot(**changes: object) -> np.ndarray:
        return expose(GREY, generator(), **{**PLAIN, "iso": 100, **changes}).astype(float)

    assert shot(exposure=0.5).mean() == pytest.approx(128 * 0.5**(1 / 2.2), abs=1.5)
    r, g, b = shot(colour_cast=(1.2, 1.0, 0.8)).mean(axis=(0, 1))
    assert r > g + 5 > b + 10
    assert shot(iso=3200).std() > 4 * shot().std()
    dim = shot(vignetting=0.5)
    assert dim[:5, :5].mean() < 0.85 * dim[28:32, 38:42].mean()
    edge = np.zeros((60, 80, 3), np.uint8)
    edge[:, 40:] = 200
    sharp, soft = (expose(edge, generator(), **{**PLAIN, "blur_px": b}).astype(float) for b in (0.0, 9.0))
    assert np.abs(np.diff(soft, axis=1)).max() < 0.7 * np.abs(np.diff(sharp, axis=1)).max()


def test_automatic_exposure_brings_dark_and_bright_together() -> None:
    dark, bright = (expose(np.full_like(GREY, v), generator()).mean() for v in (90, 190))
    assert dark > 100
    assert bright < 190
    shots = [expose(GREY, np.random.default_rng(s)).mean() for s in range(8)]
    assert np.std(shots) > 0.3  # and errs a little


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_noise_follows_the_generator(seed: int) -> None:
    depth = flat(2.0)
    shots = [(expose(GREY, np.random.default_rng(s)), measure_depth(depth, np.random.default_rng(s)))
             for s in (seed, seed, seed + 1)]
    assert np.array_equal(shots[0][0], shots[1][0])
    assert np.array_equal(shots[0][1], shots[1][1], equal_nan=True)
    assert not np.array_equal(shots[0][0], shots[2][0])
    assert not np.array_equal(shots[0][1], shots[2][1], equal_nan=True)


def test_depth_is_quantized_and_noisier_far_away() -> None:
    errors = []
    for metres in (0.5, 2.0, 6.0):
        white = np.full((120, 160), 0.9, np.float32)
        measured = measure_depth(flat(metres), generator(), reflectance=white, stripes=())
        valid = measured[~np.isnan(measured)]
        assert np.median(valid) == pytest.approx(metres, abs=DEPTH_STEP_M)
        assert np.allclose(valid / DEPTH_STEP_M, np.round(valid / DEPTH_STEP_M), atol=1e-3)
        errors.append(np.std(valid))
    assert errors[0] < errors[1] < errors[2] < 0.03


def test_dark_far_grazing_and_out_of_range_pixels_are_invalid() -> None:
    rng = generator()
    white, black = (np.full((120, 160), v, np.float32) for v in (0.8, 0.02))
    assert missing(measure_depth(flat(3.0), rng, reflectance=white, stripes=())) < 0.03
    assert missing(measure_depth(flat(3.0), rng, reflectance=black, stripes=())) > 0.7
    assert missing(measure_depth(flat(0.8), rng, reflectance=black, stripes=())) < 0.1
    grazing = np.full((120, 160), 0.02, np.float32)
    assert missing(measure_depth(flat(3.0), rng, reflectance=white, normal_cosine=grazing, stripes=())) > 0.7
    assert missing(measure_depth(flat(3.0), rng, reflectance=white, gain=0.02, stripes=())) > 0.7
    for metres in (0.1, 9.5):
        assert missing(measure_depth(flat(metres), rng, reflectance=white)) == 1


def test_stripes_are_at_the_given_columns() -> None:
    lost = np.isnan(measure_depth(flat(1.0), generator(), stripes=(0.5,))).mean(axis=0)
    assert lost[76:85].max() > 0.5
    assert lost[:70].max() < 0.1
    assert lost[90:].max() < 0.1
    drawn = np.isnan(measure_depth(flat(1.0), generator())).mean(axis=0)
    assert 2 <= (drawn > 0.35).sum() <= 16


def test_edges_have_invalid_and_flying_pixels() -> None:
    step = flat(1.0)
    step[:, 80:] = 2.0
    measured = measure_depth(step, generator(), stripes=())
    assert missing(measured[:, 78:82]) > 0.2 > missing(measured[:, :70])
    between = (measured > 1.15) & (measured < 1.85)
    assert between[:, 78:82].sum() > 10
    assert not between[:, :70].any()


def test_cosine_of_known_planes() -> None:
    """A wall straight ahead, and a floor below a level camera 1 m up."""
    rows, columns = 120, 160
    x = (np.arange(columns) - 79.5) / (80 / np.tan(np.radians(35)))
    y = (np.arange(rows) - 59.5) / (60 / np.tan(np.radians(27.5)))
    length = np.sqrt(1 + x[None]**2 + y[:, None]**2)
    assert np.allclose(depth_cosine(flat(2.0)), 1 / length, atol=1e-3)
    below = y > 0.1
    floor = np.repeat((1 / y[below])[:, None], columns, axis=1).astype(np.float32)
    matrix = np.array([[80 / np.tan(np.radians(35)), 0, 79.5], [0, 60 / np.tan(np.radians(27.5)), -0.5], [0, 0, 1]])
    matrix[1, 2] = -y[below][0] * matrix[1, 1]
    assert np.allclose(depth_cosine(floor, matrix), (y[below][:, None] / length[below]), atol=5e-3)


def test_bad_arguments() -> None:
    rng = generator()
    for call, field in (
            (lambda: expose(GREY[..., 0], rng), "rgb"), (lambda: expose(GREY.astype(float), rng), "rgb"),
            (lambda: expose(GREY, rng, iso=1), "iso"), (lambda: expose(GREY, rng, exposure=0.0), "exposure"),
            (lambda: expose(GREY, rng, vignetting=1.0), "vignetting"),
            (lambda: expose(GREY, rng, blur_px=-1), "blur_px"),
            (lambda: expose(GREY, rng, colour_cast=(1, 1)), "colour_cast"),
            (lambda: measure_depth(flat(1)[0], rng), "true_depth"),
            (lambda: measure_depth(flat(1), rng, reflectance=flat(1)[:5]), "reflectance"),
            (lambda: measure_depth(flat(1), rng, gain=0), "gain")):
        with pytest.raises(InputError, match=field):
            call()
