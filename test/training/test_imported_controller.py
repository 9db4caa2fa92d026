# SPDX-License-Identifier: Apache-2.0
"""An imported official network without controller: even layers at first, then a controller that is trained on it."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from admn_ros.budget.budget import Budget
from admn_ros.errors import ConfigError
from admn_ros.inference.engine import Engine, blank_sample
from admn_ros.model.checkpoint import load_model
from admn_ros.model.official.admn_checkpoint import import_admn
from admn_ros.model.official.legacy_head import even_scores
from admn_ros.model.official.legacy_network import Layout, LegacyNetwork
from admn_ros.model.qoi import QoiEncoder
from admn_ros.sample import Modality
from admn_ros.training.run import train
from helpers import official_network as official

pytestmark = pytest.mark.slow
RGB, DEPTH = Modality.RGB, Modality.DEPTH
FILE = """
data: {source: mmfi_cache, corruption: mmfi-gaussian}
preprocessing: null
finetune: {}
autoencoder: {optimizer: {batch: 2, epochs: 1, learning_rate: 1.0e-3}, channels: 4}
controller:
  optimizer: {batch: 2, epochs: 2, learning_rate: 1.0e-3}
  loss: {nll: 0.0, distance_per_cm: 0.0, classification: 1.0}
  budgets: [4]
"""


def stage_1(folder: Path, *, controller: bool = False, layout: Layout = "mmfi", nodes: int | None = None) -> Path:
    torch.save(official.admn_state(layout, controller=controller), folder / "last.pt")
    import_admn(folder / "last.pt", layout, folder / "imported", nodes=nodes)
    return folder / "imported"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for number, clip in enumerate(("E01/S01/A01", "E01/S02/A02", "E01/S07/A01")):
        (tmp_path / clip).mkdir(parents=True)
        video = np.random.default_rng(number).integers(0, 255, (30, 3, 32, 32)).astype(np.uint8)
        (tmp_path / clip / "data.pickle").write_bytes(pickle.dumps({"rgb": video, "depth": video}))
    (tmp_path / "train.yaml").write_text(FILE)
    return tmp_path


def test_without_a_controller_layers_are_spread_evenly_whatever_the_inputs(tmp_path: Path) -> None:
    engine = Engine(stage_1(tmp_path, layout="gdtm", nodes=2), "cpu", 1)
    for budget in range(2, 7):
        chosen = []
        for seed in range(2):
            sample, draw = blank_sample(engine.config), torch.Generator().manual_seed(seed)
            for x in sample.inputs.values():
                x.copy_(torch.randn(x.shape, generator=draw))
            found = engine.infer(sample, Budget(budget, "layers"))
            chosen.append(found.allocation.active)
            assert all(math.isnan(q) for q in found.qoi.values())
        assert chosen[0] == chosen[1]
        assert {m: len(layers) for m, layers in chosen[0].items()} == {RGB: -(-budget // 2), DEPTH: budget // 2}


def test_the_even_order_drops_from_the_middle_as_in_table_8() -> None:
    scores = even_scores({RGB: 12, DEPTH: 12}).view(2, 12)
    kept = [[0, *sorted(range(1, 12), key=lambda i, row=row: -float(row[i]))] for row in scores]
    assert kept[0] == kept[1]
    assert set(kept[0][-5:]) == {2, 4, 6, 8, 10}  # the five that Table 8 removes first
    assert kept[0][-1] == 6 and kept[0][:2] == [0, 11]


def test_a_controller_is_trained_on_an_imported_stage_1(place: Path) -> None:
    before = load_model(stage_1(place))
    model = place / "imported"
    auto = train(place / "train.yaml", "autoencoder", place / "auto", model=model, data=place, device="cpu")
    assert not load_model(auto).config.qoi_trained
    folder = train(place / "train.yaml", "controller", place / "run", model=auto, data=place, device="cpu")
    network = load_model(folder)
    assert isinstance(network, LegacyNetwork) and network.legacy.own
    assert type(network.qoi) is QoiEncoder and network.config.qoi_trained
    frozen = {name: x for name, x in network.state_dict().items() if not name.startswith("qoi.")}
    assert frozen.keys() == {name for name in before.state_dict() if not name.startswith("qoi.")}
    assert all(torch.equal(x, before.state_dict()[name]) for name, x in frozen.items())
    engine = Engine(folder, "cpu", 1)
    found = engine.infer(blank_sample(engine.config), Budget(4, "layers"))
    assert sum(map(len, found.allocation.active.values())) == 4 and all(0 < q <= 1 for q in found.qoi.values())


def test_an_official_controller_is_replaced_only_if_asked(place: Path) -> None:
    model = stage_1(place, controller=True)
    with pytest.raises(ConfigError, match=r"with its controller; allowed: .*controller\.fresh: true"):
        train(place / "train.yaml", "controller", place / "run", model=model, data=place, device="cpu")
    folder = train(place / "train.yaml", "controller", place / "run", model=model, data=place, device="cpu",
                   settings=["controller.fresh=true"], dry_run=True)
    assert type(load_model(folder).qoi) is QoiEncoder


def test_preprocessing_of_a_model_folder_is_its_own(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"preprocessing.*trained with a fixed scale"):
        train(place / "train.yaml", "controller", place / "run", model=stage_1(place), data=place, device="cpu",
              settings=["preprocessing=official"])
