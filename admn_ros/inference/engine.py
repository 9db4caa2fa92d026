# SPDX-License-Identifier: Apache-2.0
"""Engine: runs a model on one frame after another, each within its budget."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from admn_ros.budget.budget import Budget
from admn_ros.budget.costs import CostLedger, MeasuredCosts, PresentNodes
from admn_ros.config import ModelConfig, Objective, dump_config
from admn_ros.errors import AdmnError, InputError
from admn_ros.inference.cost_cache import cache_costs, read_cached_costs
from admn_ros.inference.hardware import device_name, mismatch, pick_device, use_threads
from admn_ros.inference.profile import measure_costs, parts_of
from admn_ros.inference.runtime import TORCH, Job, Runtime, RuntimeChoice, estimate_each, open_runtime, stack
from admn_ros.model.allocation import Allocation, Assessment, allocate
from admn_ros.model.checkpoint import COSTS, load_model
from admn_ros.model.costs import ModelCosts
from admn_ros.model.network import AdmnNetwork, NetworkOutput
from admn_ros.model.qoi import budget_share
from admn_ros.model.value.allocation import allocate_by_value
from admn_ros.sample import Modality, MultimodalSample, SampleBatch

LOG = logging.getLogger(__name__)
FIRST_USE_REPEATS, FIRST_USE_S = 10, 5.0
"""Runs of each part, and seconds for all of them, where costs are measured for the first budget in milliseconds."""
CLOSE_S = 2.0
"""Longest wait for the current work of a network that is freed, in seconds."""
YIELD_S = 0.001
"""Pause after each run of a measurement, in which a frame that waits gets its turn, in seconds."""
Float64 = npt.NDArray[np.float64]
_Decision = tuple[Allocation, dict[Modality, float]]  # with the quality of each modality
Decide = Callable[..., Allocation]
"""`allocate`, or another policy with the same arguments and the same contract (`admn_ros.baselines.policy`)."""


@dataclass(frozen=True)
class Estimate:
    """Output of one frame.

    Attributes:
        stamp_ns: stamp of the frame in nanoseconds.
        frame_id: TF frame of the position.
        mean_m: position (3,) in metres; None if nothing ran.
        covariance_m2: covariance (3, 3) of the position; None if nothing ran. For a model of the plane, z is the
            configured height, with the smallest standard deviation.
        labels: classes of the model.
        scores: probabilities (K,) of the classes; None if nothing ran.
        allocation: layers that ran, and their cost.
        qoi: quality of each modality in (0, 1]; NaN if the modality is missing, the controller did not run, or it was
            not trained on corruption.
        controller_ms: time in the controller in milliseconds.
        network_ms: time in backbones, fusion and heads in milliseconds.
    """

    stamp_ns: int
    frame_id: str
    mean_m: Float64 | None
    covariance_m2: Float64 | None
    labels: tuple[str, ...]
    scores: Float64 | None
    allocation: Allocation
    qoi: Mapping[Modality, float]
    controller_ms: float
    network_ms: float

    @property
    def duration_ms(self) -> float:
        """Time in controller and network in milliseconds."""
        return self.controller_ms + self.network_ms


class Engine:
    """Model that is ready to run.

    Args:
        folder: model folder.
        device: `auto` (a GPU if there is one), `cpu` or `cuda`.
        threads: CPU threads of the network; see `admn_ros.inference.hardware.use_threads`.
        choice: what computes the frames. Where it cannot be recorded, a GPU computes in float32, and the log says so.

    Raises:
        ModelError: the folder cannot be used.
        ConfigError: config.yaml or costs.yaml is malformed, or a package for the choice is missing.

    Attributes:
        objective: weights by which models allocate that predict the value of their inputs. It may change at any time.
        network: the network in PyTorch.
        runtime: what computes the frames.
    """

    objective = Objective()

    def __init__(self, folder: str | Path, device: str = "auto", threads: int = 0,
                 choice: RuntimeChoice = TORCH) -> None:
        self._turn, self._closed = threading.RLock(), False
        use_threads(threads)
        self.folder, self.device = Path(folder), pick_device("cpu" if choice.is_onnx else device)
        self.network = load_model(folder, self.device)
        self.runtime: Runtime = open_runtime(choice, self.network, self.folder, device)
        self.costs = ModelCosts.load(self.config, folder, self.network.flop_costs(), self._measure_at_first_use)
        cached = None if self.costs.measured else read_cached_costs(self.network, self.runtime_name)
        if cached is not None:
            self.costs.use(cached)

    @classmethod
    def of(cls, network: AdmnNetwork, choice: RuntimeChoice | None = None) -> Engine:
        """Return an engine of a network in memory, on the network's device, with costs in layers and operations.

        The weights must not change afterwards. Without a choice, nothing is recorded on a GPU, which takes seconds.
        """
        engine = cls.__new__(cls)
        engine._turn, engine._closed = threading.RLock(), False
        engine.folder, engine.device, engine.network = Path(), network.poses.device, network.eval()
        engine.runtime = open_runtime(choice, engine.network, engine.folder, engine.device.type)
        engine.costs = ModelCosts(network.config, flops=network.flop_costs())
        return engine

    @property
    def config(self) -> ModelConfig:
        """Description of the model."""
        return self.network.config

    def name_frame(self, frame_id: str) -> None:
        """Name the frame of the model's positions as it is called on this robot. The positions stay as they are."""
        self.network.config = self.config.model_copy(update={"frame_id": frame_id})

    @property
    def runtime_name(self) -> str:
        """Name of the runtime, as in measured costs."""
        return str(getattr(self.runtime, "name", "torch"))

    @property
    def costs_warning(self) -> str:
        """Reason why the measured costs may be wrong on this machine; empty if there is none."""
        return mismatch(self.costs.measured, self.device, self.runtime_name)

    def close(self) -> None:
        """Free the memory of the network, after its current work. The engine cannot be used afterwards."""
        self._closed = True  # ends a measurement
        waited = self._turn.acquire(timeout=CLOSE_S)
        if waited and hasattr(self.runtime, "close"):
            self.runtime.close()
        del self.network, self.runtime
        if waited:
            self._turn.release()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @property
    def trained(self) -> bool:
        """Whether the weights are trained; random weights give meaningless estimates."""
        return self.config.trained

    def warm_up(self, runs: int = 2) -> None:
        """Run empty frames at full depth, because the first runs of a network are slow."""
        for _ in range(runs):
            self.infer(blank_sample(self.config), Budget(math.inf, "layers", "warm-up"), decide=allocate)

    def measure_costs(self, repeats: int, *, seconds: float = math.inf, power_w: float | None = None) -> MeasuredCosts:
        """Measure the costs of the model here. See `admn_ros.inference.profile.measure_costs`.

        Frames of other threads run in between, never at the same time.

        Raises:
            AdmnError: the engine was closed meanwhile.
        """
        sample, everything = blank_sample(self.config), Budget(math.inf, "layers", "profile")
        return measure_costs(self.network, lambda: self.infer(sample, everything, decide=allocate), repeats,
                             seconds=seconds, power_w=power_w, turn=self._measuring_turn, parts=parts_of(self.runtime),
                             runtime=self.runtime_name)

    @contextmanager
    def _measuring_turn(self) -> Iterator[None]:
        with self._turn:
            if self._closed:
                raise AdmnError("the measurement of costs ended, because the model was freed")
            yield
        time.sleep(YIELD_S)

    def save_costs(self, measured: MeasuredCosts) -> Path:
        """Use measured costs, and write them to the model folder, or to the user's cache if the folder is read-only.

        Raises:
            InputError: neither can be written, or the costs belong to another model.
        """
        self.costs.use(measured)
        path = self.folder / COSTS
        try:
            dump_config(measured, path)
        except InputError:
            return cache_costs(self.network, measured)
        return path

    def _measure_at_first_use(self) -> MeasuredCosts:
        """Measure for the first budget in milliseconds, and keep the result for the next start."""
        LOG.warning("%s: no measured costs for a budget in milliseconds; measuring on %s for up to %g s",
                    self.folder, device_name(self.device), FIRST_USE_S)
        measured = self.measure_costs(FIRST_USE_REPEATS, seconds=FIRST_USE_S)
        try:
            LOG.warning("measured costs stored in %s", cache_costs(self.network, measured))
        except InputError as error:
            LOG.warning("measured costs not stored, next start measures again: %s", error)
        return measured

    def infer(self, sample: MultimodalSample, budget: Budget, frame_rate_hz: float | None = None,
              decide: Decide | None = None) -> Estimate:
        """Process one frame within a budget: run the controller, allocate layers, run only these.

        If the budget is below the cost of one layer of one modality, nothing runs, not even the controller.

        Args:
            sample: preprocessed frame.
            budget: budget of the frame.
            frame_rate_hz: frame rate in Hz, used for budgets in watts.
            decide: allocation policy; None for the model's own (`policy`).

        Raises:
            InputError: the sample does not fit the model, or the model has no costs in the unit of the budget.
            AdmnError: the output of the network is not finite.
        """
        return self.infer_many([sample], [budget], frame_rate_hz, decide)[0]

    @torch.inference_mode()
    def infer_many(self, samples: Sequence[MultimodalSample], budgets: Sequence[Budget],
                   frame_rate_hz: float | None = None, decide: Decide | None = None) -> list[Estimate]:
        """Process frames together. What each spends, and its estimate up to rounding, are those of `infer`.

        Each layer runs on the inputs of those frames that it is allocated to. Times are means of all frames.

        Args:
            samples: preprocessed frames.
            budgets: budget of each frame.
            frame_rate_hz: as `infer`.
            decide: as `infer`.

        Raises:
            InputError: as `infer`, or another number of budgets than of samples.
            AdmnError: as `infer`.
        """
        if len(budgets) != len(samples):
            raise InputError("budgets", len(budgets), f"{len(samples)}, one for each sample")
        found: dict[int, Estimate] = {}
        alike: dict[object, list[Job]] = {}
        for place, (sample, budget) in enumerate(zip(samples, budgets, strict=True)):
            present = self.present(sample)
            nothing = self.decline(sample.stamp_ns, present, budget, frame_rate_hz)
            if nothing is not None:
                found[place] = nothing
                continue
            granted = budget.per_frame(frame_rate_hz)
            # Only samples with the same inputs can be stacked.
            alike.setdefault((tuple(sample.inputs), sample.poses is None), []).append(
                Job(place, sample, present, self.costs.table(granted.unit), granted, budget))
        with self._turn:
            for jobs in alike.values():
                found.update(zip((job.place for job in jobs), self._run(jobs, decide or self.policy), strict=True))
        return [found[place] for place in range(len(samples))]

    def _run(self, jobs: Sequence[Job], decide: Decide) -> list[Estimate]:
        """Run the controller, allocate layers, run only these."""
        start = time.perf_counter()
        batch = stack([job.sample for job in jobs], self.runtime)
        decisions = self._decide(batch, jobs, decide)
        decided = time.perf_counter()
        running = [row for row, (allocation, _) in enumerate(decisions) if allocation.layers]
        outputs = dict(zip(running, self._estimate(batch, running, decisions, jobs), strict=True)) if running else {}
        times_ms = (decided - start) * 1e3 / len(jobs), (time.perf_counter() - decided) * 1e3 / len(jobs)
        return [make_estimate(self.config, job.sample.stamp_ns, allocation, qoi, outputs.get(row),
                              (times_ms[0], times_ms[1] if row in outputs else 0.0))
                for row, (job, (allocation, qoi)) in enumerate(zip(jobs, decisions, strict=True))]

    def _estimate(self, batch: SampleBatch, running: Sequence[int], decisions: Sequence[_Decision],
                  jobs: Sequence[Job]) -> list[NetworkOutput]:
        """Return the outputs, float64 on the CPU, of the samples that run layers."""
        if len(running) < len(jobs):
            batch = batch.part(list(batch.inputs), torch.tensor(running, device=batch.device))
        allocations = [decisions[row][0] for row in running]
        present = [{m: jobs[r].present[m] for m, layers in decisions[r][0].active.items() if layers} for r in running]
        chosen = [{m: a.nodes.get(m, here[m]) for m in here} for a, here in zip(allocations, present, strict=True)]
        if chosen != present:
            batch = batch.at(chosen)
        outputs = estimate_each(self.runtime, batch, [a.active for a in allocations])
        return [NetworkOutput(*(x.double().cpu() for x in output)) for output in outputs]

    def decline(self, stamp_ns: int, present: PresentNodes, budget: Budget,
                frame_rate_hz: float | None = None) -> Estimate | None:
        """Return the empty estimate of a frame on which nothing can run; None if a layer can run.

        It needs no reading, so a frame that is declined need not be preprocessed.

        Args:
            stamp_ns: stamp of the frame, nanoseconds.
            present: present sensor nodes of each modality.
            budget: budget of the frame.
            frame_rate_hz: frame rate in Hz, used for budgets in watts.

        Raises:
            InputError: the model lacks a modality, or has no costs in the unit of the budget.
        """
        granted = budget.per_frame(frame_rate_hz)
        table = self.costs.table(granted.unit)
        ledger = CostLedger.open(present, table, granted)
        if ledger.runnable_alone if self.config.predicts_values else ledger.runnable:
            return None
        allocation = self.policy(Assessment(), present, table, granted, requested=budget)
        return make_estimate(self.config, stamp_ns, allocation, dict.fromkeys(ledger.present, math.nan), None)

    @property
    def policy(self) -> Decide:
        """Allocation policy of the model: by predicted value if it predicts values, else by QoI and layer scores."""
        return allocate_by_value if self.config.predicts_values else allocate

    def present(self, sample: MultimodalSample) -> dict[Modality, tuple[int, ...]]:
        """Return the present sensor nodes of each modality, as ascending indices.

        Raises:
            InputError: the model lacks a modality of the sample, or an input has another shape.
        """
        nodes = len(self.config.sensor_nodes)
        for modality, x in sample.inputs.items():
            if modality not in self.config.modalities:
                raise InputError("sample", modality, ", ".join(map(str, self.config.modalities)))
            expected = (nodes, *self.config.modalities[modality].input.shape)
            if tuple(x.shape) != expected:
                raise InputError(f"sample.{modality}", tuple(x.shape), expected)
        return sample.present_nodes(self.config.modalities)

    def _decide(self, batch: SampleBatch, jobs: Sequence[Job], decide: Decide) -> list[_Decision]:
        """Run the controller and allocate the layers of every sample."""
        counts = [{m: len(nodes) for m, nodes in job.present.items()} for job in jobs]
        shares = [budget_share(job.table, job.granted, there) for job, there in zip(jobs, counts, strict=True)]
        output = self.runtime.controller(batch, torch.tensor(shares, device=batch.device))
        scores = {m: x.tolist() for m, x in output.logits.items()}
        quality = {m: x.tolist() for m, x in output.qoi.items()}
        values = {} if output.value is None else {
            m: x.double().cpu().numpy() for m, x in output.value.of_depths(self.objective).items()}
        decisions = []
        for row, (job, there) in enumerate(zip(jobs, counts, strict=True)):
            qoi = {m: q[row] if there[m] else math.nan for m, q in quality.items()}
            assessment = Assessment({m: x[row] for m, x in scores.items()}, qoi,
                                    {m: x[row] for m, x in values.items()}, self.config.sensor_nodes)
            decisions.append((decide(assessment, job.present, job.table, job.granted, requested=job.requested), qoi))
        return decisions


def make_estimate(config: ModelConfig, stamp_ns: int, allocation: Allocation, qoi: Mapping[Modality, float],
                  output: NetworkOutput | None, times_ms: tuple[float, float] = (0.0, 0.0)) -> Estimate:
    """Convert the output of a network for one frame to an estimate.

    Args:
        config: description of the model.
        stamp_ns: stamp of the frame, nanoseconds.
        allocation: layers that ran.
        qoi: quality of information of each modality.
        output: output without batch dimension, float64 on the CPU; None when nothing ran.
        times_ms: time in the controller, and in the rest of the network.

    Raises:
        AdmnError: the output is not finite.
    """
    mean_m, covariance_m2, scores = None, None, None
    if output is not None:
        if not all(np.isfinite(x.numpy()).all() for x in output):
            raise AdmnError("the network gave NaN or infinity; no estimate. Check the inputs for values that are not "
                            "finite")
        mean_m, covariance_m2 = _in_space(config, output)
        scores = output.class_logits.softmax(0).numpy()
    return Estimate(stamp_ns, config.frame_id, mean_m, covariance_m2, config.classes, scores, allocation, qoi,
                    *times_ms)


def _in_space(config: ModelConfig, output: NetworkOutput) -> tuple[Float64, Float64]:
    """Return mean (3,) and covariance (3, 3), also for a model of the plane."""
    axes, place = len(output.mean_m), config.localization
    mean_m = np.array([0.0, 0.0, place.plane_z_m])
    mean_m[:axes] = output.mean_m.numpy()
    covariance_m2 = np.diag(np.full(3, place.std_floor_m**2))
    covariance_m2[:axes, :axes] = (output.scale_tril_m @ output.scale_tril_m.T).numpy()
    return mean_m, covariance_m2


def blank_sample(config: ModelConfig) -> MultimodalSample:
    """Return a sample of zeros with every input present, for warm-up and measurement."""
    nodes = len(config.sensor_nodes)
    return MultimodalSample({m: torch.zeros(nodes, *c.input.shape) for m, c in config.modalities.items()},
                            {m: torch.ones(nodes, dtype=torch.bool) for m in config.modalities})
