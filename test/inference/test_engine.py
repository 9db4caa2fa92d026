# SPDX-License-Identifier: Apache-2.0
import math
import threading
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import MeasuredCosts
from admn_ros.config import LocalizationConfig, load_config
from admn_ros.errors import AdmnError, InputError, ModelError
from admn_ros.inference.engine import Engine, blank_sample
from admn_ros.inference.hardware import use_threads
from admn_ros.model.allocation import Reason
from admn_ros.model.checkpoint import create_random_model
from admn_ros.model.prepared.transformer import PreparedBlock
from admn_ros.model.presets import preset
from admn_ros.sample import Modality, MultimodalSample

UNLIMITED = Budget(math.inf, "layers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny"
    create_random_model(preset("gdtm-tiny"), path, seed=3)
    return path


@pytest.fixture(scope="module")
def engine(folder):
    return Engine(folder, "cpu")


@pytest.fixture(scope="module")
def reference(folder):
    """An engine that runs the network as it is defined, which is what budgets in operations count."""
    engine = Engine(folder, "cpu")
    engine.runtime = engine.network
    return engine


def frame(config, present=None, seed=0, stamp_ns=123):
    """A sample of noise; `present` gives per modality which sensor nodes have a reading."""
    generator, nodes = torch.Generator().manual_seed(seed), len(config.sensor_nodes)
    masks = {m: torch.tensor((present or {}).get(m, [True] * nodes)) for m in config.modalities}
    inputs = {m: torch.randn(nodes, *c.input.shape, generator=generator) * masks[m][:, None, None, None]
              for m, c in config.modalities.items()}
    return MultimodalSample(inputs, masks, stamp_ns)


class Calls:
    """Records which parts of an engine's network run."""

    def __init__(self, engine):
        self.blocks, self.others, self._hooks = [], [], []
        network = engine.runtime
        for name, vit in network.backbones.items():
            for i, block in enumerate(vit.blocks):
                self._hook(block, self.blocks, (Modality(name), i))
            self._hook(vit, self.others, f"embed {name}")
        self._hook(network.qoi, self.others, "qoi")
        self._hook(network.fusion, self.others, "fusion")

    def _hook(self, module, where, what):
        self._hooks.append(module.register_forward_hook(lambda *_: where.append(what)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for hook in self._hooks:
            hook.remove()


presence = st.fixed_dictionaries({m: st.lists(st.booleans(), min_size=3, max_size=3) for m in Modality})
budgets = st.one_of(
    st.builds(Budget, st.integers(0, 50), st.just("layers")),
    st.builds(Budget, st.floats(0, 1.3), st.just("gflops")),
    st.sampled_from([UNLIMITED, Budget(math.inf, "gflops"), Budget(0, "gflops")]))


@settings(max_examples=25, deadline=None)
@given(presence, budgets)
def test_exactly_the_allocated_layers_run(engine, present, budget):
    with Calls(engine) as calls:
        estimate = engine.infer(frame(engine.config, present), budget)
    allocation = estimate.allocation
    assert calls.blocks == [(m, i) for m, layers in allocation.active.items() for i in layers]
    embedded = [f"embed {m}" for m, layers in allocation.active.items() if layers]
    ran = ["qoi", *embedded, "fusion"] if allocation.layers else []
    assert calls.others == ran
    assert allocation.spent <= budget.limit
    if budget.unit == "layers":
        assert len(calls.blocks) == allocation.spent == min(budget.limit, 12 * sum(map(any, present.values())))
    for m in Modality:
        assert math.isnan(estimate.qoi[m]) or (any(present[m]) and 0 < estimate.qoi[m] <= 1)
        assert any(present[m]) or not allocation.active[m]
    assert (estimate.mean_m is None) == (estimate.scores is None) == (not allocation.layers)


@settings(max_examples=10, deadline=None)
@given(presence, st.one_of(st.floats(0, 1.3), st.floats(0.005, 0.1)))
def test_operations_of_the_whole_call_stay_within_a_budget_in_gflops(reference, present, limit):
    engine, sample = reference, frame(reference.config, present)
    # The plain attention kernel, because the counter does not see into the CPU's fused one.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        estimate = engine.infer(sample, Budget(limit, "gflops"))
    assert counter.get_total_flops() <= limit * 1e9
    assert counter.get_total_flops() == round(estimate.allocation.spent * 1e9)


def test_a_new_budget_applies_to_the_next_frame(engine):
    sample = frame(engine.config)
    for limit in (48, 1, 17, 0, 48, 4):
        with Calls(engine) as calls:
            engine.infer(sample, Budget(limit, "layers"))
        assert len(calls.blocks) == limit


def test_an_estimate(engine):
    estimate = engine.infer(frame(engine.config), Budget(20, "layers", "thermal"))
    assert (estimate.stamp_ns, estimate.frame_id) == (123, "map")
    assert estimate.labels == ("red_car", "green_car", "none")
    assert estimate.scores.sum() == pytest.approx(1, abs=1e-12)
    assert (estimate.scores >= 0).all()
    assert estimate.allocation.requested.source == "thermal"
    assert estimate.duration_ms == estimate.controller_ms + estimate.network_ms > 0
    assert (np.abs(estimate.mean_m[:2]) <= 2).all()
    assert not engine.trained


def test_a_model_of_the_plane_has_the_configured_height(engine):
    estimate = engine.infer(frame(engine.config), UNLIMITED)
    assert estimate.mean_m.shape == (3,)
    assert estimate.mean_m[2] == 0.0
    assert estimate.mean_m.dtype == estimate.covariance_m2.dtype == np.float64
    assert estimate.covariance_m2[2].tolist() == [0, 0, pytest.approx(0.01**2)]
    assert np.array_equal(estimate.covariance_m2, estimate.covariance_m2.T)
    assert (np.linalg.eigvalsh(estimate.covariance_m2) > 0).all()


def test_a_model_of_space_has_three_axes(tmp_path):
    place = LocalizationConfig(min_m=(0.0, 0.0, 1.0), max_m=(1.0, 1.0, 2.0), plane_z_m=9.0)
    create_random_model(preset("rgbd").model_copy(update={"localization": place}), tmp_path, seed=1)
    engine = Engine(tmp_path, "cpu")
    estimate = engine.infer(frame(engine.config), UNLIMITED)
    assert 1 < estimate.mean_m[2] < 2
    assert (estimate.covariance_m2 != 0).all()


def test_the_same_frame_gives_the_same_estimate(engine):
    one, two = (engine.infer(frame(engine.config), Budget(9, "layers")) for _ in range(2))
    assert np.array_equal(one.mean_m, two.mean_m)
    assert one.allocation == two.allocation
    other = engine.infer(frame(engine.config, seed=1), Budget(9, "layers"))
    assert not np.array_equal(one.mean_m, other.mean_m)


def test_a_modality_can_be_absent_from_the_sample(engine):
    full = frame(engine.config)
    part = MultimodalSample({Modality.RGB: full.inputs[Modality.RGB]}, {Modality.RGB: full.present[Modality.RGB]})
    estimate = engine.infer(part, UNLIMITED)
    assert estimate.allocation.layers == 12
    nothing = engine.infer(MultimodalSample({}, {}), UNLIMITED)
    assert nothing.allocation.reason is Reason.NO_INPUT
    assert nothing.mean_m is nothing.covariance_m2 is nothing.scores is None


def test_a_sample_of_another_model_is_refused(engine):
    with pytest.raises(InputError, match=r"sample\.rgb: found \(1, 3, 96, 96\); allowed: \(3, 3, 96, 96\)"):
        engine.infer(blank_sample(preset("rgbd")), UNLIMITED)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_inputs_that_are_not_finite_give_no_estimate(engine, value):
    sample = frame(engine.config)
    sample.inputs[Modality.DEPTH][1, 0, 5, 5] = value
    with pytest.raises(AdmnError, match="not finite"):
        engine.infer(sample, UNLIMITED)


def test_a_controller_with_overflowing_scores_does_not_overspend(folder, tmp_path):
    weights = load_file(folder / "weights.safetensors")
    weights["qoi.mlp_layers.2.bias"].fill_(3e38)
    weights["qoi.mlp_layers.2.weight"].fill_(3e38)
    for name in ("config.yaml", "README.md"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    save_file(weights, tmp_path / "weights.safetensors")
    engine = Engine(tmp_path, "cpu")
    with Calls(engine) as calls:
        estimate = engine.infer(frame(engine.config), Budget(10, "layers"))
    assert len(calls.blocks) == estimate.allocation.layers == 10


def test_watts_require_a_frame_rate_and_joules(engine):
    sample = frame(engine.config)
    with pytest.raises(InputError, match="frame_rate_hz"):
        engine.infer(sample, Budget(10, "watts"))
    with pytest.raises(InputError, match="joules"):
        engine.infer(sample, Budget(10, "watts"), 10.0)


def test_profile_gives_milliseconds_joules_and_watts(tmp_path):
    create_random_model(preset("rgbd"), tmp_path, seed=1)
    engine = Engine(tmp_path, "cpu")
    measured = engine.measure_costs(repeats=3, power_w=10.0)
    assert (measured.repeats, measured.torch) == (3, torch.__version__)
    assert date.fromisoformat(measured.date)
    assert measured.device
    for table in (measured.milliseconds, measured.joules):
        assert table.fixed > 0
        parts = [part for m in table.modalities.values() for part in (m.controller, m.embedding, m.layer)]
        assert all(v > 0 for part in parts for v in part)
    assert measured.joules.fixed == pytest.approx(measured.milliseconds.fixed * 0.01)
    assert engine.save_costs(measured) == tmp_path / "costs.yaml"
    for ready in (engine, Engine(tmp_path, "cpu")):
        sample = frame(ready.config)
        everything = ready.infer(sample, Budget(math.inf, "milliseconds")).allocation
        least = everything.spent - 11 * sum(m.layer[0] for m in measured.milliseconds.modalities.values())
        limit = (least + everything.spent) / 2
        half = ready.infer(sample, Budget(limit, "milliseconds")).allocation
        assert 2 < half.layers < everything.layers == 24
        assert half.spent <= limit
        # 10 W through the whole of the frame's time allows all of it.
        watts = ready.infer(sample, Budget(10.0, "watts", "battery"), 1000 / (everything.spent + 0.01)).allocation
        assert (watts.granted_unit, watts.requested.unit, watts.layers) == ("joules", "watts", 24)
        assert watts.spent <= watts.granted_limit


@pytest.mark.parametrize("arguments", [{"repeats": 0}, {"repeats": 3, "power_w": math.nan}])
def test_invalid_profile_arguments_are_refused(engine, arguments):
    with pytest.raises(InputError):
        engine.measure_costs(**arguments)


@pytest.mark.slow
def test_milliseconds_of_the_shipped_model_are_measured_at_first_use(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("ADMN_CACHE", str(tmp_path / "cache"))
    folder = Path(__file__).parents[2] / "models" / "gdtm"
    before = sorted(p.name for p in folder.iterdir())
    first = Engine(folder, "cpu", 1)
    assert first.costs.measured is None
    sample = frame(first.config)
    everything = first.infer(sample, Budget(math.inf, "milliseconds")).allocation
    assert everything.layers == 4
    assert "measuring" in caplog.text
    [stored] = (tmp_path / "cache" / "costs").iterdir()
    assert str(stored) in caplog.text
    table, present = first.costs.table("milliseconds"), dict.fromkeys(first.config.modalities, 3)
    limit = table.amount((table.price(dict.fromkeys(present, 1), present) + table.total(present)) // 2)
    half = first.infer(sample, Budget(limit, "milliseconds")).allocation
    assert 1 <= half.layers <= 4 and half.spent <= limit
    # The next start uses the same table, and the model folder, which may be read-only, is as it was.
    second = Engine(folder, "cpu", 1)
    assert second.costs.measured == first.costs.measured is not None
    assert second.costs_warning == ""
    assert sorted(p.name for p in folder.iterdir()) == before
    assert Engine(folder, "cpu", 2).costs.measured is None
    use_threads(1)


def test_joules_are_not_measured_at_first_use(engine):
    with pytest.raises(InputError, match="--watts"):
        engine.costs.table("joules")


def test_costs_of_a_read_only_model_go_to_the_cache(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ADMN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "file").touch()
    engine = Engine(folder, "cpu")
    monkeypatch.setattr(engine, "folder", tmp_path / "file" / "below")
    written = engine.save_costs(engine.measure_costs(1, seconds=0.0, power_w=5.0))
    assert written.parent == tmp_path / "cache" / "costs"
    assert load_config(MeasuredCosts, written).power_w == 5.0


def test_a_missing_model_folder_is_refused(tmp_path):
    with pytest.raises(ModelError):
        Engine(tmp_path / "none")


def test_warm_up_runs_all_layers(engine):
    with Calls(engine) as calls:
        engine.warm_up(runs=1)
    assert len(calls.blocks) == 48


@pytest.mark.slow
def test_costs_are_measured_between_frames_never_during_one(folder):
    engine = Engine(folder, "cpu")
    sample, running, together, frames = frame(engine.config), set(), [], 0
    for block in engine.runtime.modules():
        if isinstance(block, PreparedBlock):
            block.register_forward_pre_hook(lambda *_: running.add(threading.get_ident()))
            block.register_forward_hook(lambda *_: together.append(len(running)) or running.clear())
    expected = engine.infer(sample, Budget(9, "layers")).mean_m
    measuring = threading.Thread(target=engine.measure_costs, args=(3,), kwargs={"seconds": 0.5}, daemon=True)
    measuring.start()
    while measuring.is_alive():
        assert (engine.infer(sample, Budget(9, "layers")).mean_m == expected).all()
        frames += 1
    assert frames > 3, "frames go on"
    assert set(together) == {1}


def test_a_measurement_ends_when_its_engine_is_closed(folder):
    engine, began, ended = Engine(folder, "cpu"), threading.Event(), threading.Event()
    engine.runtime.qoi.register_forward_hook(lambda *_: began.set())

    def measure() -> None:
        with pytest.raises(AdmnError, match="the model was freed"):
            engine.measure_costs(10**6)
        ended.set()

    measuring = threading.Thread(target=measure, daemon=True)
    measuring.start()
    assert began.wait(20.0)
    engine.close()
    assert ended.wait(20.0)
