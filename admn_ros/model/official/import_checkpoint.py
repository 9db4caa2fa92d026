# SPDX-License-Identifier: Apache-2.0
"""Import of foreign checkpoints into model folders (`admn import`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal, cast, get_args

from torch import Tensor

from admn_ros.config import ModelConfig
from admn_ros.errors import InputError, ModelError
from admn_ros.files import read_text
from admn_ros.model.checkpoint import CARD, CONFIG, COSTS, check_free, initialize, load_model, model_card, save_model
from admn_ros.model.network import AdmnNetwork
from admn_ros.model.official.admn_checkpoint import import_admn
from admn_ros.model.official.backbones import PATCH, Kind, guess_kind, load_backbone
from admn_ros.model.official.layouts import LAYOUTS, OFFICIAL_ANCHORS, guess_layout
from admn_ros.model.official.legacy_network import Layout, LegacyNetwork
from admn_ros.model.official.noise_head import Qoi
from admn_ros.model.official.refused_networks import refuse_known
from admn_ros.model.official.safe_unpickle import ImportReport, read_foreign
from admn_ros.model.official.state_dict import take_part
from admn_ros.model.presets import PRESETS, preset
from admn_ros.sample import Modality

Source = Literal["auto", "admn-gdtm", "admn-mmfi", "admn-ave", "admn-ave-unequal", "mae", "audiomae", "timm", "deit"]
OFFICIAL: Final[Mapping[str, Layout]] = {f"admn-{layout}": layout for layout in LAYOUTS} | {"admn-ave-unequal": "ave"}
PICTURES: Final = (Modality.RGB, Modality.DEPTH)
"""Modalities whose backbones start from image pretraining (paper Section 3.2)."""


def import_checkpoint(source: str | Path, out: str | Path, kind: Source = "auto", *, key: str | None = None,
                      architecture: str | None = None, modalities: Sequence[Modality] = (),
                      nodes: int | None = None, qoi: Qoi = "auto", seed: int = 0,
                      force: bool = False) -> dict[str, ImportReport]:
    """Import an official ADMN checkpoint as a model folder, or pretrained backbones into one.

    Args:
        source: checkpoint of PyTorch or safetensors, of any name.
        out: model folder; a new one for an official checkpoint, and for backbones with a preset.
        kind: origin of the file; "auto" detects it from the names of the weights, but cannot tell
            "admn-ave-unequal", whose budgets are in audio layers, from "admn-ave".
        key: where the weights are in the file (`find_weights`); None for the usual places.
        architecture: preset of a new model folder; its other weights are random.
        modalities: modalities whose backbones to load; empty for audio (AudioMAE) or the cameras (other kinds).
        nodes: number of sensor nodes or frames of an official checkpoint; None for the paper's.
        qoi: whether the corruption head of an official controller was trained; "auto" tells it from the weights.
        seed: seed of the random weights of a new folder.
        force: replace a model that is there, or the backbones of a trained one.

    Returns:
        Reports of loaded, ignored and missing tensors, per model or modality.

    Raises:
        InputError: the kind, preset or modality does not exist, or options exclude each other.
        ModelError: the file or the folder cannot be used; the folder is not changed.
    """
    if kind not in get_args(Source):
        raise InputError("kind", kind, ", ".join(get_args(Source)))
    out = Path(out)
    held = read_foreign(source, key)
    refuse_known(held, str(source))
    state, others = take_part(held, (*OFFICIAL_ANCHORS, PATCH), str(source))
    layout = guess_layout(state) if kind == "auto" else OFFICIAL.get(kind)
    if layout is not None:
        if architecture is not None or modalities:
            raise InputError.conflict("preset or modality", "an official checkpoint", "the checkpoint has its own")
        report = import_admn(source, layout, out, nodes=nodes, qoi=qoi, unequal=kind == "admn-ave-unequal",
                             force=force, state=state)
        return {f"admn-{layout}": replace(report, ignored=(*report.ignored, *others))}
    if nodes is not None:
        raise InputError.conflict("nodes", "backbones", "the preset sets the sensor nodes")
    if qoi != "auto":
        raise InputError.conflict("qoi", "backbones", "only an official controller has it")
    network, card = _open(out, architecture, seed, force)
    reports = {name: replace(report, ignored=(*report.ignored, *others))
               for name, report in _load(network, state, cast(Kind, kind), modalities).items()}
    lines = [line for m, report in reports.items() for line in (f"\n## Backbone of {m}\nFrom {Path(source).name}.\n",
                                                                "```", str(report), "```")]
    save_model(network, out, "\n".join([card.rstrip(), *lines, ""]))
    if architecture is not None:
        (out / COSTS).unlink(missing_ok=True)
    return reports


def _open(out: Path, architecture: str | None, seed: int, force: bool) -> tuple[AdmnNetwork, str]:
    """Return the network for the backbones, and the text of its model card."""
    if architecture is not None:
        config = preset(architecture)
        check_free(out, force)
        network = AdmnNetwork(_untrained(config, seed))
        initialize(network, seed)
        return network, model_card(network)
    if not (out / CONFIG).is_file():
        raise InputError.missing("preset", f"one of {', '.join(PRESETS)}, or a model folder in {out}")
    network = load_model(out)
    if isinstance(network, LegacyNetwork):
        raise ModelError(str(out), "an official network",
                         "a model of this package, or a new folder with a preset")
    if network.config.trained:
        if not force:
            raise ModelError(str(out), "a trained model, which would lose its backbones",
                             "an untrained model, or force")
        network.config = _untrained(network.config, network.config.seed)
        return network, model_card(network)
    return network, read_text(out / CARD, "a model card") if (out / CARD).is_file() else model_card(network)


def _untrained(config: ModelConfig, seed: int | None) -> ModelConfig:
    return config.model_copy(update={"trained": False, "seed": seed})


def _load(network: AdmnNetwork, state: Mapping[str, Tensor], kind: Kind,
          modalities: Sequence[Modality]) -> dict[str, ImportReport]:
    held = network.config.modalities
    if not modalities:
        sound = PATCH in state and (guess_kind(state) if kind == "auto" else kind) == "audiomae"
        modalities = [m for m in ((Modality.AUDIO,) if sound else PICTURES) if m in held]
    absent = [str(m) for m in modalities if m not in held]
    if absent or not modalities:
        raise InputError("modality", ", ".join(absent) or "no suitable one", ", ".join(map(str, held)))
    reports = {}
    for modality in modalities:
        try:
            reports[str(modality)] = load_backbone(network.backbone(modality), state, kind)
        except InputError as error:
            raise error.within(str(modality)) from error
    return reports
