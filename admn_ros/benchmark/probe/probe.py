# SPDX-License-Identifier: Apache-2.0
"""Measures whether one modality of the simulated room is sufficient to localize the car, clean and corrupted.

A probe is a small network trained on one modality. It shows what information the data have, not the best possible
error. Its error is compared with that of the constant predictor, the mean training position.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from admn_ros.benchmark.probe.inputs import OnProgress, ProbeData, load_split
from admn_ros.benchmark.probe.network import Fit, fit, positions
from admn_ros.errors import InputError
from admn_ros.files import write_json
from admn_ros.recordings import shards
from admn_ros.sample import Modality
from admn_ros.scoring.estimates import ErrorSummary
from admn_ros.scoring.metrics import CM_PER_M, distances
from admn_ros.sensing.corruption.audio import Fan, Wind
from admn_ros.sensing.corruption.corruption import Chain, Corruption, GaussianNoise, kind_of
from admn_ros.sensing.corruption.radar import RadarInterference, RadarNoise
from admn_ros.sensing.corruption.vision import DepthSaturation, LowLight
from admn_ros.views.palette import modality_colour
from admn_ros.views.picture_file import write_figure

FORMAT = "admn-probe-1"
TRAIN, TESTS = "train", ("test_time", "test_view")
STRONGEST: Mapping[Modality, tuple[Corruption, ...]] = {
    Modality.RGB: (LowLight(), GaussianNoise(Modality.RGB)),
    Modality.DEPTH: (DepthSaturation(), GaussianNoise(Modality.DEPTH, keep_invalid=False)),
    Modality.RADAR: (Chain(Modality.RADAR, ((RadarInterference(), 1.0), (RadarNoise(), 1.0))),),
    Modality.AUDIO: (Wind(), Fan(), GaussianNoise(Modality.AUDIO)),
}
"""Corruptions of each modality in `probe_all`, with severity 1."""


@dataclass(frozen=True)
class Errors:
    """Position errors over a split, in centimetres."""

    median_cm: float
    mean_cm: float

    @classmethod
    def of(cls, estimate_m: Tensor, truth_m: Tensor) -> Errors:
        """Summarize positions (samples, 2) or (2,) against the truth (samples, 2); rounded to 0.1 mm."""
        estimate = np.broadcast_to(estimate_m.double().numpy(), truth_m.shape)
        summary = ErrorSummary.of(CM_PER_M * distances(estimate, truth_m.double().numpy()))
        return cls(round(summary.median_cm, 2), round(summary.mean_cm, 2))


@dataclass(frozen=True)
class CorruptedResult:
    """Errors under one corruption of severity 1, per test split.

    Attributes:
        kind, parameters: corruption.
        clean_trained: errors of the probe that was trained on clean data.
        corrupted_trained: errors of a probe that was trained on corrupted data. They show the information that is
            left; the first errors may be large only because the data look unfamiliar. None without `retrain`.
    """

    kind: str
    parameters: Mapping[str, float]
    clean_trained: Mapping[str, Errors]
    corrupted_trained: Mapping[str, Errors] | None


@dataclass(frozen=True)
class ProbeResult:
    """Result of one modality.

    Attributes:
        modality: name of the modality.
        clean, constant: errors of the probe and of the mean training position, per test split.
        corrupted: errors under each corruption.
        samples: number of samples with a car, per split.
        epochs: epochs of the training; fewer than requested if the time limit was reached.
        seconds: wall time, with reading and corrupted probes.
    """

    modality: str
    clean: Mapping[str, Errors]
    constant: Mapping[str, Errors]
    corrupted: Sequence[CorruptedResult]
    samples: Mapping[str, int]
    epochs: int
    seconds: float


@dataclass(frozen=True)
class ProbeSettings:
    """Training of a probe.

    Attributes:
        epochs: number of epochs.
        limit_s: no epoch starts after this time in seconds. Results are reproducible if it is not reached.
        retrain: train a further probe on each corruption.
        threads: CPU threads of PyTorch.
    """

    epochs: int = 4
    limit_s: float = 600.0
    retrain: bool = True
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("epochs", "threads"):
            if getattr(self, name) < 1:
                raise InputError(name, getattr(self, name), "1 or more")
        if not 0 < self.limit_s < math.inf:
            raise InputError("limit_s", self.limit_s, "more than 0 s, finite")


def probe(folder: str | Path, modality: Modality, corruptions: Sequence[Corruption] = (), *, seed: int = 0,
          settings: ProbeSettings | None = None, on_progress: OnProgress | None = None) -> ProbeResult:
    """Train a probe on one modality of a dataset, and measure its errors on clean and corrupted data.

    Samples without a car are left out. Equal arguments give equal results on one machine.

    Args:
        folder: folder of the dataset, with the splits train, test_time and test_view.
        modality: modality.
        corruptions: corruptions, each with severity 1.
        seed: seed of the weights, the order of the samples and the corruptions' noise.
        settings: training of the probe.
        on_progress: callback for the progress.

    Raises:
        InputError: an argument is out of range, the dataset cannot be used, or a corruption is another modality's.
    """
    if not 0 <= seed < 2**31:
        raise InputError("seed", seed, "[0, 2^31)")
    for corruption in corruptions:
        if corruption.modality is not modality:
            raise InputError("corruption", f"{kind_of(corruption)} of {corruption.modality}", f"one of {modality}")
    began = time.monotonic()
    run = _Run(Path(folder), modality, seed, settings or ProbeSettings(), on_progress or (lambda what, share: None))
    with _threads(run.settings.threads):
        train, tests = run.load(TRAIN), {split: run.load(split) for split in TESTS}
        trained = run.fit(train, "clean")
        mean_m = train.position.mean(0)
        constant = {s: Errors.of(mean_m, d.position) for s, d in tests.items()}
        clean = _errors(trained, tests)
        samples = {split: len(data) for split, data in ((TRAIN, train), *tests.items())}
        del train, tests  # free the memory for the corrupted data
        corrupted = [run.corrupted(trained, corruption) for corruption in corruptions]
    return ProbeResult(str(modality), clean, constant, corrupted, samples, trained.epochs,
                       round(time.monotonic() - began, 1))


def probe_all(folder: str | Path, out_json: str | Path, *, seed: int = 0, settings: ProbeSettings | None = None,
              command: str = "", corruptions: Mapping[Modality, Sequence[Corruption]] = STRONGEST,
              on_progress: OnProgress | None = None) -> list[ProbeResult]:
    """Probe every modality in `corruptions`, and write the results with their provenance as JSON.

    The file is written after each modality, so that an interrupted run keeps its results.

    Args:
        folder, seed, settings, on_progress: as for `probe`.
        out_json: JSON file.
        command: command line, for the file.
        corruptions: corruptions of each modality to probe.

    Raises:
        InputError: as `probe`, or the file cannot be written.
    """
    began, settings, results = time.monotonic(), settings or ProbeSettings(), []
    plan = shards.read_index(Path(folder))[1]
    for modality, tried in corruptions.items():
        def named(what: str, share: float, name: str = str(modality)) -> None:
            if on_progress is not None:
                on_progress(f"{name}: {what}", share)

        results.append(probe(folder, modality, tried, seed=seed, settings=settings, on_progress=named))
        write_json(Path(out_json), {
            "format": FORMAT, "command": command, "plan": plan, "seed": seed, "effort": asdict(settings),
            "torch": torch.__version__, "seconds": round(time.monotonic() - began, 1),
            "results": [asdict(result) for result in results]})
    return results


def draw_probe(results: Sequence[ProbeResult], png: str | Path) -> Path:
    """Draw median errors as bars: constant, clean, and each corruption; one panel per test split.

    Raises:
        InputError: no results, or the file cannot be written.
    """
    if not results:
        raise InputError("results", "none", "at least one")
    from matplotlib.figure import Figure  # noqa: PLC0415  slow to import

    figure = Figure(figsize=(12, 7), dpi=110, layout="constrained")
    for axes, split in zip(figure.subplots(len(TESTS), 1, sharex=True), TESTS, strict=True):
        place, ticks = 0.0, []
        for result in results:
            bars = _bars(result, split)
            for label, height, shade in bars:
                axes.bar(place, height, 0.85, color=modality_colour(result.modality) if shade else "#b2babb",
                         alpha=shade or 1.0, edgecolor="#566573", linewidth=0.5)
                axes.text(place, height, f"{height:.0f}", ha="center", va="bottom", fontsize=8)
                ticks.append((place, label.replace("+", "+\n").replace(", ", ",\n")))
                place += 1
            axes.text(place - 0.5 - len(bars) / 2, 1.0, result.modality, ha="center", va="bottom", fontsize=11,
                      color=modality_colour(result.modality), transform=axes.get_xaxis_transform(), weight="bold")
            place += 0.8
        axes.set_xticks([t for t, _ in ticks], [label for _, label in ticks], fontsize=8, rotation=50, ha="right",
                        rotation_mode="anchor")
        axes.margins(y=0.12)
        axes.set_ylabel(f"{split}\nmedian error, cm")
        axes.spines[["top", "right"]].set_visible(False)
    write_figure(figure, Path(png))
    return Path(png)


@dataclass(frozen=True)
class _Run:
    """Arguments of one `probe`."""

    folder: Path
    modality: Modality
    seed: int
    settings: ProbeSettings
    on_progress: OnProgress

    def load(self, split: str, corruption: Corruption | None = None) -> ProbeData:
        return load_split(self.folder, split, self.modality, corruption, self.seed, self.on_progress)

    def fit(self, train: ProbeData, what: str) -> Fit:
        return fit(train, self.settings.epochs, self.settings.limit_s, self.seed,
                   lambda share: self.on_progress(f"train {what}", share))

    def corrupted(self, clean: Fit, corruption: Corruption) -> CorruptedResult:
        kind = kind_of(corruption)
        tests = {split: self.load(split, corruption) for split in TESTS}
        again = self.fit(self.load(TRAIN, corruption), kind) if self.settings.retrain else None
        return CorruptedResult(kind, corruption.parameters(1.0), _errors(clean, tests),
                               None if again is None else _errors(again, tests))


def _errors(trained: Fit, tests: Mapping[str, ProbeData]) -> dict[str, Errors]:
    return {split: Errors.of(positions(trained.net, data), data.position) for split, data in tests.items()}


def _bars(result: ProbeResult, split: str) -> list[tuple[str, float, float]]:
    """Return label, median error and opacity (0: grey) of each bar."""
    bars = [("constant", result.constant[split].median_cm, 0.0), ("clean", result.clean[split].median_cm, 1.0)]
    for c in result.corrupted:
        bars.append((c.kind, c.clean_trained[split].median_cm, 0.55))
        if c.corrupted_trained is not None:
            bars.append((f"{c.kind}, trained on it", c.corrupted_trained[split].median_cm, 0.25))
    return bars


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Limit the threads of PyTorch: more threads than free cores wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
