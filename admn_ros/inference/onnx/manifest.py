# SPDX-License-Identifier: Apache-2.0
"""Description of exported graphs (`onnx/export.yaml`), by which broken and foreign files are found."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from admn_ros.config import Count, Strict, load_config
from admn_ros.errors import ModelError
from admn_ros.files import fingerprint
from admn_ros.inference.onnx.graphs import graph_names
from admn_ros.model.checkpoint import CONFIG, WEIGHTS
from admn_ros.model.network import AdmnNetwork

FOLDER, MANIFEST = "onnx", "export.yaml"


class OnnxManifest(Strict):
    """Content of `onnx/export.yaml`.

    Attributes:
        model: hash of the configuration and the weights that were exported.
        opset: version of the operators.
        torch: version of PyTorch that wrote the graphs.
        graphs: hash of each graph's file.
    """

    format: Literal["admn-onnx-1"] = "admn-onnx-1"
    model: str
    opset: Count
    torch: str
    graphs: dict[str, str]


def graph_file(folder: Path, name: str) -> Path:
    """Return the file of a graph in its folder."""
    return folder / f"{name}.onnx"


def model_hash(folder: Path) -> str:
    """Return the hash of what graphs are exported from.

    Raises:
        InputError: the folder cannot be read.
    """
    return fingerprint((folder / name for name in (CONFIG, WEIGHTS)), folder, whole=True)


def check_graphs(network: AdmnNetwork, folder: Path) -> OnnxManifest:
    """Check that a model folder has the graphs of its network, undamaged, and return their description.

    Raises:
        ModelError: graphs are missing, damaged or of other weights.
        ConfigError: their description is malformed, or of another version.
    """
    graphs = folder / FOLDER
    again = "the graphs of this model: run `admn export` again"
    if not (graphs / MANIFEST).exists():
        raise ModelError.missing(str(graphs), "graphs for engine onnxruntime; `admn export MODEL OUT` writes them")
    manifest = load_config(OnnxManifest, graphs / MANIFEST)
    if manifest.model != model_hash(folder) or set(manifest.graphs) != set(graph_names(network)):
        raise ModelError(str(graphs), "graphs of another configuration or of other weights", again)
    for name, expected in manifest.graphs.items():
        file = graph_file(graphs, name)
        if not file.is_file():
            raise ModelError.missing(str(file), again)
        if fingerprint([file], graphs, whole=True) != expected:
            raise ModelError(str(file), "a file that changed after the export", again)
    return manifest
