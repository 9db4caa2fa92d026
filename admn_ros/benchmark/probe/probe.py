# SPDX-License-Identifier: Apache-2.0
"""Does a modality of the simulated room, alone, say where the car is, and does corruption take that away?

A probe is a small network trained on one modality. It shows what is in the data, not what the best
network could do. Its error is compared with the constant answer: the mean position in training.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from admn_ros.benchmark.probe.inputs import ProbeData, Progress, load_split
from admn_ros.benchmark.probe.network import Fit, errors_cm, fit
from admn_ros.errors import InputError
from admn_ros.recordings import shards
from admn_ros.sample import Modality
from admn_ros.sensing.corruption.audio import Fan, Wind
from admn_ros.sensing.corruption.corruption import Chain, Corruption, GaussianNoise, kind_of
from admn_ros.sensing.corruption.radar import RadarInterference, RadarNoise
from admn_ros.sensing.corruption.vision import DepthSaturation, LowLight
from admn_ros.views.palette import modality_colour

FORMAT = "admn-probe-1"
TRAIN, TESTS = "train", ("test_time", "test_view")
STRONGEST: Mapping[Modality, tuple[Corruption, ...]] = {
    Modality.RGB: (LowLight(), GaussianNoise(Modality.RGB)),
    Modality.DEPTH: (DepthSaturation(), GaussianNoise(Modality.DEPTH, keep_invalid=False)),
    Modality.RADAR: (Chain(Modality.RADAR, ((RadarInterference(), 1.0), (RadarNoise(), 1.0))),),
    Modality.AUDIO: (Wind(), Fan(), GaussianNoise(Modality.AUDIO)),
}
"""What `probe_all` does to each modality, with severity 1."""


@dataclass(frozen=True)
class Errors:
    """Distances between estimate and truth over a split, centimetres."""

    median_cm: float
    mean_cm: float

    @classmethod
    def of(cls, distances_cm: Tensor) -> Errors:
        """Of distances (samples,), rounded to a tenth of a millimetre."""
        return cls(round(float(distances_cm.median()), 2), round(float(distances_cm.mean()), 2))


@dataclass(frozen=True)
class CorruptedResult:
    """What is left under one corruption of severity 1, per test split.

    clean_trained: of the probe that was trained on clean data and meets the corruption unprepared.
    corrupted_trained: of a new probe, trained as long on data so corrupted. It says what is left to be
        learnt; the first can also be bad because the data merely look unfamiliar. None when not asked for.
    """

    kind: str
    parameters: Mapping[str, float]
    clean_trained: Mapping[str, Errors]
    corrupted_trained: Mapping[str, Errors] | None


@dataclass(frozen=True)
class ProbeResult:
    """What one modality alone says of the car's position.

    clean, constant: per test split, the probe's errors and those of the training's mean position.
    samples: with a car, per split.
    epochs: of the probe's training; fewer than asked for when the time was up.
    seconds: all in all, reading and the corrupted probes included.
    """

    modality: str
    clean: Mapping[str, Errors]
    constant: Mapping[str, Errors]
    corrupted: Sequence[CorruptedResult]
    samples: Mapping[str, int]
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Effort:
    """How long a probe is trained: `epochs`, none begun after limit_s; the results repeat if that is not met.

    retrain: also train one on each corruption.
    threads: of torch.
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
          effort: Effort | None = None, progress: Progress | None = None) -> ProbeResult:
    """Train a probe on one modality of a dataset, and try it clean and corrupted.

    Samples without a car are left out. The same arguments give the same figures on one machine.

    Args:
        folder: of `make_dataset`, with the splits train, test_time and test_view.
        modality: which.
        corruptions: each is tried with severity 1.
        seed: of the weights, the order of the samples and the corruptions' noise.
        effort: how long to train.
        progress: called with what is being done and its share, 0 to 1.

    Raises:
        InputError: an argument is out of range, the dataset cannot be used, or a corruption is another modality's.
    """
    if not 0 <= seed < 2**31:
        raise InputError("seed", seed, "[0, 2^31)")
    for corruption in corruptions:
        if corruption.modality is not modality:
            raise InputError("corruption", f"{kind_of(corruption)} of {corruption.modality}", f"one of {modality}")
    began = time.monotonic()
    run = _Run(Path(folder), modality, seed, effort or Effort(), progress or (lambda what, share: None))
    with _threads(run.effort.threads):
        train, tests = run.load(TRAIN), {split: run.load(split) for split in TESTS}
        trained = run.fit(train, "clean")
        mean_m = train.position.mean(0)
        constant = {s: Errors.of(100 * (d.position - mean_m).norm(dim=1)) for s, d in tests.items()}
        clean = _errors(trained, tests)
        samples = {split: len(data) for split, data in ((TRAIN, train), *tests.items())}
        del train, tests  # before the corrupted ones are read
        corrupted = [run.corrupted(trained, corruption) for corruption in corruptions]
    return ProbeResult(str(modality), clean, constant, corrupted, samples, trained.epochs,
                       round(time.monotonic() - began, 1))


def probe_all(folder: str | Path, out_json: str | Path, *, seed: int = 0, effort: Effort | None = None,
              command: str = "", corruptions: Mapping[Modality, Sequence[Corruption]] = STRONGEST,
              progress: Progress | None = None) -> list[ProbeResult]:
    """Probe every modality in `corruptions` and write the results as JSON with where they came from.

    The file is written after each modality, so that a run that is broken off leaves what it has.

    Args:
        folder, seed, effort, progress: as for `probe`.
        out_json: the file.
        command: what the user typed; put into the file.
        corruptions: of each modality to probe.

    Raises:
        InputError: as `probe`, or the file cannot be written.
    """
    began, effort, results = time.monotonic(), effort or Effort(), []
    plan = shards.read_index(Path(folder))[1]
    for modality, tried in corruptions.items():
        def named(what: str, share: float, name: str = str(modality)) -> None:
            if progress is not None:
                progress(f"{name}: {what}", share)

        results.append(probe(folder, modality, tried, seed=seed, effort=effort, progress=named))
        _write(Path(out_json), {
            "format": FORMAT, "command": command, "plan": plan, "seed": seed, "effort": asdict(effort),
            "torch": torch.__version__, "seconds": round(time.monotonic() - began, 1),
            "results": [asdict(result) for result in results]})
    return results


def draw_probe(results: Sequence[ProbeResult], png: str | Path) -> Path:
    """Draw median errors as bars into a PNG: constant, clean, and each corruption; one panel per test split.

    Raises:
        InputError: no results.
    """
    if not results:
        raise InputError("results", "none", "at least one")
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

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
    FigureCanvasAgg(figure)
    Path(png).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(png)
    return Path(png)


@dataclass(frozen=True)
class _Run:
    """The arguments of one `probe`."""

    folder: Path
    modality: Modality
    seed: int
    effort: Effort
    progress: Progress

    def load(self, split: str, corruption: Corruption | None = None) -> ProbeData:
        return load_split(self.folder, split, self.modality, corruption, self.seed, self.progress)

    def fit(self, train: ProbeData, what: str) -> Fit:
        return fit(train, self.effort.epochs, self.effort.limit_s, self.seed,
                   lambda share: self.progress(f"train {what}", share))

    def corrupted(self, clean: Fit, corruption: Corruption) -> CorruptedResult:
        kind = kind_of(corruption)
        tests = {split: self.load(split, corruption) for split in TESTS}
        again = self.fit(self.load(TRAIN, corruption), kind) if self.effort.retrain else None
        return CorruptedResult(kind, corruption.parameters(1.0), _errors(clean, tests),
                               None if again is None else _errors(again, tests))


def _errors(trained: Fit, tests: Mapping[str, ProbeData]) -> dict[str, Errors]:
    return {split: Errors.of(errors_cm(trained.net, data)) for split, data in tests.items()}


def _bars(result: ProbeResult, split: str) -> list[tuple[str, float, float]]:
    """Label, median error and strength of colour (0: grey)."""
    bars = [("constant", result.constant[split].median_cm, 0.0), ("clean", result.clean[split].median_cm, 1.0)]
    for c in result.corrupted:
        bars.append((c.kind, c.clean_trained[split].median_cm, 0.55))
        if c.corrupted_trained is not None:
            bars.append((f"{c.kind}, trained on it", c.corrupted_trained[split].median_cm, 0.25))
    return bars


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch on so many threads: more than there are free cores wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write(path: Path, content: Mapping[str, object]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(str(path), error.strerror or "unwritable", "a file that can be written") from error
