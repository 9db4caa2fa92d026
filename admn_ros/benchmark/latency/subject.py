# SPDX-License-Identifier: Apache-2.0
"""A model on disk as all engines need it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from admn_ros.benchmark.latency.case import engine_name
from admn_ros.benchmark.latency.plan import WIDTHS, Precision, vit_config
from admn_ros.errors import AdmnError
from admn_ros.inference.engine import Engine
from admn_ros.inference.onnx.export import export_model
from admn_ros.inference.onnx.manifest import FOLDER, MANIFEST
from admn_ros.inference.runtime import ENGINES, RuntimeChoice
from admn_ros.model.checkpoint import create_random_model
from admn_ros.optional import optional
from admn_ros.share import find_shipped


@dataclass(frozen=True)
class Subject:
    """Model folders of one model.

    Attributes:
        name: as in `LatencyPlan.models`.
        folders: model folder by runtime.
        left_out: runtimes that cannot run the model here, with the reason.
    """

    name: str
    folders: dict[str, Path]
    left_out: dict[str, str] = field(default_factory=dict)

    def engines(self, device: str, threads: int, precisions: Sequence[Precision] = ()) -> dict[str, Engine]:
        """Open an engine of each runtime; one that cannot run here is noted in `left_out`.

        Args:
            device: `cpu` or `cuda`.
            threads: CPU threads.
            precisions: those in which PyTorch runs beside float32.

        Raises:
            AdmnError: PyTorch cannot run the model.
        """
        opened = {"torch": self.open("torch", device, threads)}
        for precision in precisions:
            try:
                opened[engine_name("torch", precision)] = self.open("torch", device, threads, precision)
            except AdmnError as error:
                self.left_out[engine_name("torch", precision)] = str(error)
        for runtime in self.folders.keys() - opened.keys():
            try:
                opened[runtime] = self.open(runtime, device, threads)
            except AdmnError as error:
                self.left_out[runtime] = str(error)
        return opened

    def open(self, runtime: str, device: str, threads: int, precision: Precision = "float32") -> Engine:
        """Open the engine of a runtime in a precision."""
        return Engine(self.folders[runtime], device, threads, RuntimeChoice(runtime, precision=precision))


@contextmanager
def subject(name: str, seed: int) -> Iterator[Subject]:
    """Yield a model of `LatencyPlan.models`, exported to ONNX if that is possible and was not done before.

    Args:
        name: a key of `WIDTHS`, a model folder, or the name of a shipped model.
        seed: seed of untrained weights.

    Raises:
        ModelError: there is no such model.
    """
    with TemporaryDirectory() as made:
        folder = Path(made) / name if name in WIDTHS else find_shipped(name, "models")
        if name in WIDTHS:
            create_random_model(vit_config(name), folder, seed)
        found = Subject(name, dict.fromkeys(ENGINES, folder))
        if not (folder / FOLDER / MANIFEST).exists():
            _export(found, Path(made) / "onnx")
        yield found


def _export(found: Subject, folder: Path) -> None:
    """Export a model for ONNX Runtime, unless a package is missing or the model has no such form."""
    try:
        optional("onnxruntime")
        export_model(found.folders["torch"], folder)
        found.folders["onnxruntime"] = folder
    except AdmnError as error:
        del found.folders["onnxruntime"]
        found.left_out["onnxruntime"] = str(error)
