# SPDX-License-Identifier: Apache-2.0
"""From an official checkpoint file through `admn import` to the engine: the official numbers and their exact cost."""


import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from admn_ros.baselines.allocations import OnlyModality
from admn_ros.budget.budget import Budget
from admn_ros.cli import main
from admn_ros.inference.engine import Engine
from admn_ros.model.checkpoint import save_model
from admn_ros.sample import Modality, MultimodalSample
from helpers import official_network as official

pytestmark = pytest.mark.slow

NODES = {"gdtm": 3, "mmfi": 5, "ave": 8}
SECOND = {"gdtm": Modality.DEPTH, "mmfi": Modality.DEPTH, "ave": Modality.AUDIO}


@pytest.fixture(scope="module", params=NODES)
def case(request, tmp_path_factory):
    """Layout, official state dict, and the engine of the folder that the command made."""
    layout, folder = request.param, tmp_path_factory.mktemp(request.param)
    state = official.admn_state(layout, noise=4 if layout == "ave" else 2, seed=5)
    torch.save({"epoch": 3, "state_dict": {f"module.{n}": v for n, v in state.items()}}, folder / "last.pt")
    assert main(["import", str(folder / "last.pt"), str(folder / "model"), "--nodes", str(NODES[layout])]) == 0
    return layout, state, Engine(folder / "model", "cpu", 1)


def sample(layout, seed=0, absent=()):
    """One frame for us, and the same inputs as the official network takes them."""
    generator = torch.Generator().manual_seed(seed)
    nodes, second = NODES[layout], SECOND[layout]
    first = torch.randn(nodes, 3, official.PIXELS, official.PIXELS, generator=generator)
    other = torch.randn(nodes, *((1, 16, 128) if layout == "ave" else first.shape[1:]), generator=generator)
    there = {Modality.RGB: torch.ones(nodes, dtype=torch.bool), second: torch.ones(nodes, dtype=torch.bool)}
    if layout == "ave":
        there[second][1:] = False
    for modality, node in absent:
        there[modality][node] = False
    theirs = other[None, :1] if layout == "ave" else other[None]
    return MultimodalSample({Modality.RGB: first, second: other}, there), first[None], theirs


def check_outputs(layout, state, estimate, first, second, layers):
    """Compare an estimate with the official network that runs these layers of both modalities."""
    embedding = official.fused(state, layout, first, second, layers)
    if layout == "gdtm":
        mean_cm, covariance_cm2 = official.gaussian_cm(state, embedding)
        flip = torch.tensor([1.0, -1.0])
        torch.testing.assert_close(torch.tensor(estimate.mean_m[:2]).float() * 100, mean_cm[0] * flip,
                                   rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(torch.tensor(estimate.covariance_m2[:2, :2]).float() * 1e4,
                                   covariance_cm2[0] * flip[:, None] * flip, rtol=1e-4, atol=1e-4)
    else:
        scores = (embedding @ state["output_head.weight"].T + state["output_head.bias"]).softmax(1)
        torch.testing.assert_close(torch.tensor(estimate.scores).float(), scores[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("total", [2, 3, 4, 6])
@torch.inference_mode()
def test_the_engine_gives_the_official_numbers_within_each_budget(case, total):
    layout, state, engine = case
    frame, first, second = sample(layout, seed=total)
    estimate = engine.infer(frame, Budget(total, "layers"))
    logits, _ = official.controller(state, layout, first, second)
    layers = official.top_layers(logits[0], total)
    assert [list(chosen) for chosen in estimate.allocation.active.values()] == list(layers)
    check_outputs(layout, state, estimate, first, second, layers)
    assert engine.trained
    assert all(0 < q <= 1 for q in estimate.qoi.values())


@pytest.mark.parametrize("alone", [0, 1])
@torch.inference_mode()
def test_one_modality_gives_the_official_numbers_and_costs_no_more(case, alone):
    """By the policy `only`, or because the readings of the other are missing, whose tokens are then constant."""
    layout, state, engine = case
    frame, first, second = sample(layout, seed=7)
    names = list(frame.inputs)
    budget = Budget(100, "gflops")
    chosen, spent = _counted(engine, frame, budget, OnlyModality(names[alone]))
    layers = tuple(chosen.allocation.active[m] for m in names)
    assert layers[1 - alone] == () and len(layers[alone]) == official.DEPTH
    check_outputs(layout, state, chosen, first, second, layers)
    assert spent == round(chosen.allocation.spent * 1e9)
    missing = [(names[1 - alone], node) for node in range(NODES[layout])]
    found = engine.infer(sample(layout, seed=7, absent=missing)[0], budget)
    check_outputs(layout, state, found, first, second, layers)


def _counted(engine, frame, budget, decide=None):
    """Return the estimate, and the operations of the frame."""
    # The plain attention kernel, because the counter does not see into the CPU's fused one.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        estimate = engine.infer(frame, budget, decide=decide)
    return estimate, counter.get_total_flops()


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_operations_are_counted_exactly(case, share):
    layout, _, engine = case
    table = engine.costs.table("gflops")
    frame, *_ = sample(layout)
    present = {m: int(p.sum()) for m, p in frame.present.items()}
    base, full = table.base(present), table.total(present)
    estimate, counted = _counted(engine, frame, Budget((base + share * (full - base)) / 1e9, "gflops"))
    assert counted == round(estimate.allocation.spent * 1e9)
    if share == 1.0:
        assert counted == full


@pytest.mark.parametrize("node", [0, 1])
def test_operations_with_an_absent_input_are_never_more_than_counted(case, node):
    layout, _, engine = case
    frame, *_ = sample(layout, absent=[(Modality.RGB, node)])
    estimate, counted = _counted(engine, frame, Budget(100, "gflops"))
    spent = round(estimate.allocation.spent * 1e9)
    assert counted <= spent
    assert counted == spent or layout == "mmfi"


def test_the_controller_has_its_own_spectrogram_size(case):
    layout, _, engine = case
    if layout != "ave":
        return
    looks = engine.costs.table("gflops").modalities
    assert looks[Modality.AUDIO].controller[0] > 5 * looks[Modality.RGB].controller[0]


def test_it_is_inspected_and_profiled_like_any_model(case, capsys):
    layout, _, engine = case
    assert main(["inspect", str(engine.folder)]) == 0
    output = capsys.readouterr().out
    assert f"admn-{layout}: trained" in output
    assert f"heads and controller of layout {layout}" in output
    assert main(["profile", str(engine.folder), "--repeats", "1", "--device", "cpu", "--threads", "1"]) == 0
    assert "milliseconds" in Engine(engine.folder, "cpu", 1).costs.units


def test_an_imported_model_is_not_trained_on(case, tmp_path, capsys):
    layout, _, engine = case
    save_model(engine.network, tmp_path / "model")
    assert main(["train", "finetune", "--config", "config/train/room_tiny.yaml", "--model", str(tmp_path / "model"),
                 "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--device", "cpu"]) != 0
    error = capsys.readouterr().err
    assert f"imported from the official {layout} release; allowed: a model with heads of this package" in error
    assert not (tmp_path / "run").exists()
