# SPDX-License-Identifier: Apache-2.0
"""Export of a model folder to ONNX: the folder itself, with the graphs in `onnx/`."""

from __future__ import annotations

import inspect
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from admn_ros.config import dump_config
from admn_ros.errors import ConfigError, ModelError
from admn_ros.files import fingerprint, replacing_folder, write_errors
from admn_ros.inference.onnx.graphs import ROWS, Graph, graph_names, graphs_of
from admn_ros.inference.onnx.manifest import FOLDER, MANIFEST, OnnxManifest, graph_file, model_hash
from admn_ros.model.checkpoint import CARD, CONFIG, METRICS, WEIGHTS, check_free, load_model
from admn_ros.model.official.legacy_network import LegacyNetwork
from admn_ros.optional import optional

OPSET = 17
"""Oldest version of the operators with LayerNormalization; ONNX Runtime 1.12 and TensorRT 8.6 read it."""
Progress = Callable[[int, int], None]


def export_model(source: Path, out: Path, *, force: bool = False,
                 on_graph: Progress = lambda done, total: None) -> None:
    """Write a model folder with its graphs in ONNX.

    The measured costs stay behind, because they are those of PyTorch.

    Args:
        source: model folder.
        out: folder to write; the model folder itself gets the graphs only.
        force: replace a model that is there.
        on_graph: takes the number of finished graphs and of all graphs.

    Raises:
        ModelError: the model cannot be read or exported, or `out` holds a model and `force` is false.
        InputError: the folder cannot be written.
        ConfigError: the package onnx is missing, or PyTorch is too old.
    """
    optional("onnx")
    if "dynamo" not in inspect.signature(torch.onnx.export).parameters:
        raise ConfigError("torch", torch.__version__, "2.5 or newer, for the export to ONNX")
    network = load_model(source)
    if isinstance(network, LegacyNetwork):
        raise ModelError(str(source), "a network of the official release, whose heads and controller have other shapes",
                         "a network of this package; engine torch runs this one")
    if not (out.exists() and out.samefile(source)):
        check_free(out, force)
        _copy(source, out)
    names = graph_names(network)
    with replacing_folder(out / FOLDER) as folder, torch.inference_mode():
        hashes = {}
        for done, graph in enumerate(graphs_of(network)):
            file = graph_file(folder, graph.name)
            _write(graph, file)
            hashes[graph.name] = fingerprint([file], folder, whole=True)
            on_graph(done + 1, len(names))
        dump_config(OnnxManifest(model=model_hash(out), opset=OPSET, torch=torch.__version__, graphs=hashes),
                    folder / MANIFEST)


def _copy(source: Path, out: Path) -> None:
    with write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        for name in (CONFIG, WEIGHTS, CARD, METRICS):
            (out / name).unlink(missing_ok=True)
            if (source / name).exists():
                shutil.copyfile(source / name, out / name)


def _write(graph: Graph, file: Path) -> None:
    """Trace a graph, and write it."""
    axes = {name: {0: ROWS} for name in (*graph.inputs, *graph.outputs)} if graph.rows else {}
    with warnings.catch_warnings(), write_errors(file):
        # The exporter of traces is deprecated, but the new one needs one more package and takes seconds for a graph.
        # Its other warnings are about checks of shapes, which hold for every number of rows.
        warnings.simplefilter("ignore")
        torch.onnx.export(graph.module.eval(), tuple(graph.inputs.values()), file, dynamo=False, opset_version=OPSET,
                          input_names=list(graph.inputs), output_names=list(graph.outputs), dynamic_axes=axes)
