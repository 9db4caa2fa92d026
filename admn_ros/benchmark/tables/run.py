# SPDX-License-Identifier: Apache-2.0
"""Runs the missing cells of the result tables, one after another. A run can be interrupted and resumed at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import torch

from admn_ros.benchmark.tables.config import Cell, TablesConfig
from admn_ros.benchmark.tables.contenders import Contenders, Entry, removed_layers
from admn_ros.benchmark.tables.data import CorruptedSplits
from admn_ros.benchmark.tables.results import (
    CellResult,
    ErrorFigures,
    as_json,
    constant_accuracy,
    constant_cm,
    read_results,
    summarize,
    summarize_costs,
)
from admn_ros.benchmark.tables.training import OnStep, TrainingCost, TrainingStore
from admn_ros.errors import ConfigError
from admn_ros.evaluation.contenders import run_contenders
from admn_ros.evaluation.records import Columns, join, split_times, write_columns
from admn_ros.evaluation.source import SourceFrame
from admn_ros.files import write_json
from admn_ros.inference.hardware import pick_device, use_threads
from admn_ros.sensing.corruption.corruption import CorruptionLabel
from admn_ros.training.processes import Processes
from admn_ros.worker_process import worker_pool

RESULTS = "tables"
"""Folder of the cells, beside the rendered tables."""


@dataclass(frozen=True)
class Folders:
    """Folders of a run.

    Attributes:
        data: dataset.
        work: trained parts, preprocessed samples and records; can be deleted.
        out: results.
    """

    data: Path
    work: Path
    out: Path


def missing(config: TablesConfig, cells: Sequence[Cell], out: Path) -> list[Cell]:
    """Return the cells without a result of this configuration, in order.

    Raises:
        InputError: a result cannot be read.
    """
    results = read_results(out / RESULTS, config.fingerprint)
    return [cell for cell in cells if cell not in results]


def run_cells(config: TablesConfig, cells: Sequence[Cell], folders: Folders, *, command: str = "",
              device: torch.device | None = None, on_step: OnStep = lambda what, at, of: None,
              on_result: Callable[[CellResult], None] = lambda result: None) -> None:
    """Run the cells that have no result yet, and write one JSON file for each.

    Args:
        config: configuration of the tables.
        cells: cells of its plan.
        folders: folders.
        command: command line, for the results.
        device: device; None is the CPU.
        on_step: callback for the progress within a cell.
        on_result: callback after each cell.

    Raises:
        AdmnError: a training fails, or a folder cannot be used.
    """
    processes = Processes(device=device or torch.device("cpu"))
    runners: dict[str, _Runner] = {}
    for cell in missing(config, cells, folders.out):
        if cell.corruption not in runners:
            runners.clear()  # one corruption in memory at a time
            runners[cell.corruption] = _Runner(config, cell.corruption, folders, processes, on_step)
        result = runners[cell.corruption].result(cell, command)
        write_json(folders.out / RESULTS / f"{cell.name}.json", as_json(result))
        on_result(result)


def run_on_cluster(config: TablesConfig, cells: Sequence[Cell], folders: Folders, scheduler: str, *, threads: int = 0,
                   command: str = "", device: str = "auto",
                   on_result: Callable[[CellResult], None] = lambda result: None) -> None:
    """Run the cells that have no result yet on a Dask cluster, one task for each corruption: its cells share parts.

    Args:
        config, cells, folders, command, on_result: see `run_cells`; the workers need the same folders.
        scheduler: address of the scheduler.
        threads: CPU threads of a worker; 0 for one per core.
        device: device of each worker, see `pick_device`.

    Raises:
        AdmnError: the cluster cannot be used, or as `run_cells`.
        ConfigError: the corruptions share their clean epochs, so that they cannot be run beside each other.
    """
    if config.shared_clean:
        raise ConfigError.conflict("--scheduler", "shared_clean", "workers would train the same networks")
    parts: dict[str, list[Cell]] = {}
    for cell in missing(config, cells, folders.out):
        parts.setdefault(cell.corruption, []).append(cell)
    with worker_pool(len(parts), use_threads, threads, scheduler=scheduler) as pool:
        tasks = [pool.submit(_run_part, config, part, folders, command, device) for part in parts.values()]
        for task in as_completed(tasks):
            part = task.result()
            results = read_results(folders.out / RESULTS, config.fingerprint)
            for cell in part:
                on_result(results[cell])


def _run_part(config: TablesConfig, cells: list[Cell], folders: Folders, command: str, device: str) -> list[Cell]:
    # A worker that repeats the task of one that has died continues after its last cell and epoch.
    run_cells(config, cells, folders, command=command, device=pick_device(device))
    return cells


class _Runner:
    """Cells of one corruption."""

    def __init__(self, config: TablesConfig, corruption: str, folders: Folders, processes: Processes,
                 on_step: OnStep) -> None:
        self._config, self._device, self._on_step = config, processes.device, on_step
        self._work = folders.work / config.fingerprint / corruption
        self._splits = CorruptedSplits(config, corruption, folders.data, self._work.parent / "data")
        clean = self._work.parent / "clean" if config.shared_clean else None
        store = TrainingStore(config, self._splits, self._work, processes, on_step, clean)
        self._contenders = Contenders(config, store)

    def result(self, cell: Cell, command: str) -> CellResult:
        """Make the contenders of a cell, train what they need, and evaluate them on the test split."""
        entry = self._contenders.make(cell)
        columns = self._evaluate(cell, entry)
        write_columns(self._work / "records" / f"{cell.name}.npz", split_times(columns)[0])
        errors, figures = summarize(columns, 0, entry.model, self._config.task, self._config.seed)
        removal = cell.method.startswith("removal")
        device = self._device
        result = CellResult(
            corruption=cell.corruption, method=cell.method, layers=cell.layers, seed=cell.seed, errors=errors,
            costs=None if removal else summarize_costs(columns, entry.table), training=_rounded(entry.training),
            removed=self._removed(columns, entry) if removal else {}, figures={} if removal else figures,
            config=self._config.fingerprint, command=command, torch=torch.__version__,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            threads=torch.get_num_threads())
        return result.model_copy(update=self._constant(columns))

    def _constant(self, columns: Columns) -> dict[str, float]:
        """Return the fields of a result about the constant predictor."""
        if self._config.task == "classification":
            return {"constant_accuracy": constant_accuracy(self._splits.constant_label, columns)}
        mean_cm, median_cm = constant_cm(self._splits.constant_m, columns)
        return {"constant_mean_cm": mean_cm, "constant_median_cm": median_cm}

    def _evaluate(self, cell: Cell, entry: Entry) -> Columns:
        done, total = 0, len(self._splits.test)

        def on_frames(frames: int) -> None:
            nonlocal done
            done += frames
            self._on_step(f"evaluation of {cell.name}", done, total)

        return join(list(run_contenders(self._frames(cell.corruption), entry.contenders, entry.model, on_frames)))

    def _frames(self, corruption: str) -> Iterator[SourceFrame]:
        for index in range(len(self._splits.test)):
            sample = self._splits.test.sample(0, index)
            severity = (sample.target.corruption if sample.target is not None else None) or {}
            labels = {m: CorruptionLabel(corruption if s else "clean", s) for m, s in severity.items()}
            yield SourceFrame(index, self._splits.scene(index), sample, labels)

    def _removed(self, columns: Columns, entry: Entry) -> dict[str, dict[int, ErrorFigures]]:
        found: dict[str, dict[int, ErrorFigures]] = {}
        for contender, name in enumerate(removed_layers(entry.model)):
            group, _, removed = name.rpartition("-")
            errors, _ = summarize(columns, contender, entry.model, self._config.task, self._config.seed)
            found.setdefault(group, {})[int(removed)] = errors
        return found


def _rounded(cost: TrainingCost | None) -> TrainingCost | None:
    if cost is None:
        return None
    return cost.model_copy(update={"seconds": round(cost.seconds, 1), "search_seconds": round(cost.search_seconds, 1)})
