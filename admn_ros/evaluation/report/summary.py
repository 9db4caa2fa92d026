# SPDX-License-Identifier: Apache-2.0
"""Head of a report: a paragraph and a few key numbers; its foot: the settings of the evaluation."""

from __future__ import annotations

from dataclasses import dataclass

from admn_ros.evaluation.report.data import Evaluation, Json, budget_text


@dataclass(frozen=True)
class Tile:
    """Key number at the top of the page.

    Attributes:
        label: name of the number.
        value: number as shown.
        unit: unit as shown; "" for none.
        note: conditions and uncertainty.
        style: CSS class: good, alert, or "".
    """

    label: str
    value: str
    unit: str
    note: str
    style: str = ""


def title(evaluation: Evaluation) -> str:
    """Return the title: model and recordings."""
    return f"{evaluation.results['described_model']['name']} on {_sources(evaluation)}"


def _sources(evaluation: Evaluation) -> str:
    names = [source["name"] for source in evaluation.results["sources"]]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def warnings(evaluation: Evaluation) -> list[str]:
    """Return what a reader must know first."""
    model = evaluation.results["described_model"]
    cells = evaluation.results["cells"]
    found = [] if model["trained"] else ["This model is untrained: its weights are random, and so are its estimates."]
    silent = sum(cell["frames"]["without_estimate"] for cell in cells)
    if silent:
        found.append(f"{silent} of {_runs(evaluation)} inferences gave no estimate: the budget was too small for any "
                     "layer, or no input was available.")
    return found


def omitted(evaluation: Evaluation) -> str:
    """Return the metrics that are omitted and why; "" if there are none."""
    reasons = dict.fromkeys(reason for cell in evaluation.results["cells"] for reason in cell["why_null"].values())
    return f"Omitted: {'; '.join(reasons)}." if reasons else ""


def lead(evaluation: Evaluation) -> str:
    """Return a paragraph on what was evaluated and how accurate the estimates are."""
    frames = evaluation.results["cells"][0]["frames"]
    corrupted = [c for c in evaluation.corruptions if c != "clean"]
    clean = "as recorded and " if len(corrupted) < len(evaluation.corruptions) else ""
    inputs = f"{clean}with {_count(len(corrupted), 'corruption')}" if corrupted else "as recorded"
    sentences = [f"{_count(frames['n'], 'frame')} in {_count(frames['scenes'], 'scene')} of {_sources(evaluation)} "
                 f"were replayed {inputs}, with {_count(len(evaluation.budgets), 'budget')} and "
                 f"{_count(len(evaluation.policies), 'policy', 'policies')}."]
    error = evaluation.cell(evaluation.mildest, 0, evaluation.focus)["error_cm"]
    if error is None:
        return " ".join([*sentences, "Errors are omitted: there is no ground truth.", _compliance(evaluation)])
    budget = _focus(evaluation)
    sentences.append(f"{budget}, the mean position error is {error['mean']:.1f} cm {_when(evaluation.mildest)}"
                + (_worst(evaluation) if evaluation.worst not in (None, evaluation.mildest) else "") + ".")
    return " ".join([*sentences, _compliance(evaluation)])


def _worst(evaluation: Evaluation) -> str:
    worst = evaluation.worst or ""
    error = evaluation.cell(worst, 0, evaluation.focus)["error_cm"]
    return f" and {error['mean']:.1f} cm {_when(worst)}, the worst corruption"


def _when(corruption: str) -> str:
    return "with clean inputs" if corruption == "clean" else f"with {corruption}"


def _focus(evaluation: Evaluation) -> str:
    label = evaluation.budgets[evaluation.focus]
    total = evaluation.results["described_model"]["layers_total"]
    if label["limit"] is None:
        return "Without a limit"
    available = f" of {total}" if label["unit"] == "layers" else ""
    return f"With a budget of {budget_text(label, long=True)} per frame{available}"


def _compliance(evaluation: Evaluation) -> str:
    over = _over(evaluation)
    return f"{_count(over, 'frame')} exceeded the budget." if over else "No frame exceeded its budget."


def _over(evaluation: Evaluation) -> int:
    return sum(cell["violations"] for cell in evaluation.results["cells"])


def _runs(evaluation: Evaluation) -> int:
    return sum(cell["frames"]["n"] for cell in evaluation.results["cells"])


def tiles(evaluation: Evaluation) -> list[Tile]:
    """Return the key numbers that are known."""
    focus, mildest = evaluation.focus, evaluation.mildest
    cell, budget = evaluation.cell(mildest, 0, focus), budget_text(evaluation.budgets[evaluation.focus], long=True)
    found: list[Tile] = []
    if cell["error_cm"] is not None:
        found.append(_error_tile(f"Mean error, {mildest}", cell["error_cm"], budget))
    if evaluation.worst not in (None, mildest):
        worst = evaluation.worst or ""
        found.append(_error_tile(f"Worst corruption, {worst}", evaluation.cell(worst, 0, focus)["error_cm"], budget))
    over = _over(evaluation)
    found.append(Tile("Frames over budget", f"{over}", f"of {_runs(evaluation):,}".replace(",", "\u202f"),
                      "all budgets, policies and corruptions", "alert" if over else "good"))
    if cell["coverage"] is not None:
        inside = cell["coverage"]["90%"]
        found.append(Tile("Inside the 90 % ellipse", f"{100 * inside['share']:.0f}", "%",
                          f"{mildest}, {budget}; ideal: 90 %{_between(inside['interval'], 100, ' %')}"))
    elif cell["classes"] is not None:
        found.append(Tile("Class accuracy", f"{100 * cell['classes']['accuracy']:.0f}", "%", f"{mildest}, {budget}"))
    return found


def _error_tile(label: str, error: Json, budget: str) -> Tile:
    return Tile(label, f"{error['mean']:.1f}", "cm",
                f"{budget}; median {error['median']:.1f}, p95 {error['p95']:.1f}{_between(error['mean_interval'])}")


def _between(interval: list[float] | None, scale: float = 1.0, unit: str = "") -> str:
    return "" if interval is None else f"; 95 % interval {scale * interval[0]:.3g} to {scale * interval[1]:.3g}{unit}"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def settings(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return names and values of the settings, for reproduction."""
    results, timings = evaluation.results, evaluation.timings
    asked, model, machine = results["settings"], results["described_model"], timings["machine"]
    speed = (f"{timings['frames_per_s']:.1f} frames/s with {_count(timings['jobs'], 'process', 'processes')}, "
             f"{timings['variants_per_frame']} inferences per frame")
    times = timings["times_real_time"]
    return [
        ("model", f"{model['name']}: " + ", ".join(f"{m} {d}" for m, d in model["depths"].items())
         + f" layers; fingerprint {results['model']['fingerprint'][:16]}"),
        *(("source", f"{s['name']}, fingerprint {s['fingerprint'][:16]}") for s in results["sources"]),
        ("frames", f"{results['cells'][0]['frames']['n']}" + (f" (limit {asked['limit']})" if asked["limit"] else "")
         + (f", split {asked['split']}" if not evaluation.is_of_bags else "")),
        ("scenes", f"{results['cells'][0]['frames']['scenes']}; a scene is {results['source']['scene']}"),
        ("corruptions", f"{', '.join(asked['corruptions'])}; variant {asked['variant']}; seed {asked['seed']}"),
        ("policies", ", ".join(asked["policies"])),
        ("budgets", ", ".join(budget_text(b, long=True) for b in evaluation.budgets)),
        ("speed", speed + (f", {times:.1f} times real time" if times else "")),
        ("machine", f"{machine['device']}, {machine['cores']} cores, torch {machine['torch']}, "
                    f"peak memory {machine['peak_memory_mb']:.0f} MB"),
        ("version", f"admn_ros {results['version']}"),
        ("results.json", f"SHA-256 {evaluation.fingerprint}"),
    ]
