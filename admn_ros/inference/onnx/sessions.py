# SPDX-License-Identifier: Apache-2.0
"""Sessions of ONNX Runtime. Tensors stay on the device of their session until somebody reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from admn_ros.errors import ConfigError, ModelError
from admn_ros.files import cache_folder
from admn_ros.optional import optional

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
_DEVICES = {CUDA: "cuda", TENSORRT: "cuda"}
"""Where the outputs of providers lie; those of the others lie in the memory of the CPU."""
Array = npt.NDArray[Any]


class Held:
    """Output of a session, in the memory of its device.

    Args:
        value: an `onnxruntime.OrtValue`.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __len__(self) -> int:
        return int(self.value.shape()[0])

    def numpy(self) -> Array:
        """Return the output as an array."""
        out: Array = self.value.numpy()
        return out


@dataclass(frozen=True)
class Place:
    """Where and how graphs run.

    Attributes:
        threads: CPU threads.
        providers: execution providers, in order of preference.
        half: whether TensorRT may compute in float16.
    """

    threads: int
    providers: tuple[str, ...]
    half: bool = False

    def with_options(self, model: str) -> list[str | tuple[str, dict[str, str]]]:
        """Return the providers with their options: TensorRT keeps what it compiled for the next start.

        It recognizes a graph by the names of its file and of its nodes, not by its weights, so that every model needs a
        folder of its own.

        Args:
            model: hash of the model.
        """
        folder = cache_folder() / "tensorrt" / model[:16]
        options = {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(folder),
                   "trt_timing_cache_enable": "True", "trt_fp16_enable": str(self.half)}
        return [(name, options) if name == TENSORRT else name for name in self.providers]


class Session:
    """One graph, ready to run.

    Args:
        file: graph.
        place: where it runs.
        model: hash of its model.

    Raises:
        ModelError: the graph cannot be read or run by this version of ONNX Runtime.
    """

    def __init__(self, file: Path, place: Place, model: str) -> None:
        runtime = optional("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = place.threads, 1
        options.log_severity_level = 3  # errors: warnings are about optimizations
        # Threads that wait actively for their next graph would take the cores from the graph that runs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(str(file), options, providers=place.with_options(model))
        except Exception as error:  # ONNX Runtime has exceptions without a common class
            raise ModelError(str(file), f"a graph that ONNX Runtime {runtime.__version__} refuses ({error})",
                             "a graph that it reads; run `admn export` again") from error
        self._held = runtime.OrtValue.ortvalue_from_numpy
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._device = next((_DEVICES[p] for p in self._session.get_providers() if p in _DEVICES), "cpu")

    def __call__(self, **inputs: Array | Held) -> list[Held]:
        """Run the graph.

        Args:
            **inputs: arrays, or outputs of sessions.

        Returns:
            Outputs of the graph, in its order.
        """
        binding = self._session.io_binding()
        for name, value in inputs.items():
            held = value.value if isinstance(value, Held) else self._held(np.ascontiguousarray(value))
            binding.bind_ortvalue_input(name, held)
        for name in self._outputs:
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding)
        return [Held(value) for value in binding.get_outputs()]


def pick_providers(wanted: Sequence[str], device: str) -> list[str]:
    """Return the execution providers to use, in order of preference; the last one is that of the CPU.

    Args:
        wanted: names of providers; empty for those of the device.
        device: `auto` (a GPU if ONNX Runtime has CUDA), `cpu` or `cuda`.

    Raises:
        ConfigError: this installation of ONNX Runtime lacks a provider.
    """
    there: list[str] = optional("onnxruntime").get_available_providers()
    chosen = list(wanted) or ([CUDA] if device == "cuda" or (device == "auto" and CUDA in there) else [])
    for name in chosen:
        if name not in there:
            raise ConfigError("providers" if wanted else "device", name if wanted else device,
                              f"what this ONNX Runtime has: {', '.join(there)}")
    return chosen if CPU in chosen else [*chosen, CPU]
