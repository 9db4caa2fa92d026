# SPDX-License-Identifier: Apache-2.0
"""The top of a report: what was evaluated and how good it was, in a paragraph and a few numbers."""

from __future__ import annotations

from dataclasses import dataclass

from admn_ros.evaluation.report.data import Evaluation, Figures, budget_text


@dataclass(frozen=True)
class Tile:
    """One big number.

    label: what it is. value, unit: as they are shown. note: what belongs to it.
    mood: good, alert, or "".
    """

    label: str
    value: str
    unit: str
    note: str
    mood: str = ""


def title(evaluation: Evaluation) -> str:
    """Model and recordings."""
    return f"{evaluation.results['described_model']['name']} on {_sources(evaluation)}"


def _sources(evaluation: Evaluation) -> str:
    names = [source["name"] for source in evaluation.results["sources"]]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]}, {names[1]} and {len(names) - 2} more"


def warnings(evaluation: Evaluation) -> list[str]:
    """What a reader must know before anything else."""
    model = evaluation.results["described_model"]
    cells = evaluation.results["cells"]
    found = [] if model["trained"] else ["This model is untrained: its estimates mean nothing."]
    silent = sum(cell["frames"]["without_estimate"] for cell in cells)
    if silent:
        found.append(f"{silent} of {_runs(evaluation)} runs of frames gave no estimate: nothing fitted into the "
                     "budget, or no input was there.")
    return found


def left_out(evaluation: Evaluation) -> str:
    """What could not be had, and why; "" if nothing is missing."""
    reasons = dict.fromkeys(reason for cell in evaluation.results["cells"] for reason in cell["why_null"].values())
    return f"Left out: {'; '.join(reasons)}." if reasons else ""


def lead(evaluation: Evaluation) -> str:
    """What was evaluated and how good it was."""
    frames = evaluation.results["cells"][0]["frames"]
    bad = [c for c in evaluation.corruptions if c != "clean"]
    inputs = "as recorded" if not bad else f"{'as recorded and ' if len(bad) < len(evaluation.corruptions) else ''}" \
        f"with {_count(len(bad), 'kind')} of bad sensors"
    said = [f"{_count(frames['n'], 'frame')} in {_count(frames['scenes'], 'scene')} of {_sources(evaluation)} were "
            f"replayed {inputs}, within {_count(len(evaluation.budgets), 'budget')} and under "
            f"{_count(len(evaluation.policies), 'policy', 'policies')}."]
    error = evaluation.cell(evaluation.mildest, 0, evaluation.focus)["error_cm"]
    if error is None:
        return " ".join([*said, "There is no truth to compare the estimates with.", _kept(evaluation)])
    budget = _focus(evaluation)
    said.append(f"{budget}, the estimate is off by {error['mean']:.1f} cm on average {_when(evaluation.mildest)}"
                + (_worst(evaluation) if evaluation.worst not in (None, evaluation.mildest) else "") + ".")
    return " ".join([*said, _kept(evaluation)])


def _worst(evaluation: Evaluation) -> str:
    worst = evaluation.worst or ""
    error = evaluation.cell(worst, 0, evaluation.focus)["error_cm"]
    return f", and by {error['mean']:.1f} cm {_when(worst)}, the worst"


def _when(corruption: str) -> str:
    return "with inputs as they are" if corruption == "clean" else f"under {corruption}"


def _focus(evaluation: Evaluation) -> str:
    label = evaluation.budgets[evaluation.focus]
    total = evaluation.results["described_model"]["layers_total"]
    if label["limit"] is None:
        return "Without a limit"
    return f"Within {budget_text(label, long=True)} per frame" + (f" of {total}" if label["unit"] == "layers" else "")


def _kept(evaluation: Evaluation) -> str:
    over = _over(evaluation)
    return "No frame cost more than its budget." if not over else f"{_count(over, 'frame')} cost more than the budget."


def _over(evaluation: Evaluation) -> int:
    return sum(cell["violations"] for cell in evaluation.results["cells"])


def _runs(evaluation: Evaluation) -> int:
    return sum(cell["frames"]["n"] for cell in evaluation.results["cells"])


def tiles(evaluation: Evaluation) -> list[Tile]:
    """A few big numbers, those that there are."""
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
                      "over all budgets, policies and corruptions", "alert" if over else "good"))
    if cell["coverage"] is not None:
        inside = cell["coverage"]["90%"]
        found.append(Tile("Inside the 90 % ellipse", f"{100 * inside['share']:.0f}", "%",
                          f"{mildest}, {budget}; should be 90 %{_between(inside['interval'], 100, ' %')}"))
    elif cell["classes"] is not None:
        found.append(Tile("Right class", f"{100 * cell['classes']['accuracy']:.0f}", "%", f"{mildest}, {budget}"))
    return found


def _error_tile(label: str, error: Figures, budget: str) -> Tile:
    return Tile(label, f"{error['mean']:.1f}", "cm",
                f"{budget}; median {error['median']:.1f}, p95 {error['p95']:.1f}{_between(error['mean_interval'])}")


def _between(interval: list[float] | None, scale: float = 1.0, unit: str = "") -> str:
    return "" if interval is None else f"; 95 % sure: {scale * interval[0]:.3g} to {scale * interval[1]:.3g}{unit}"


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def settings(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What the figures are of, for those who want to have them again."""
    results, timings = evaluation.results, evaluation.timings
    asked, model, machine = results["settings"], results["described_model"], timings["machine"]
    speed = (f"{timings['frames_per_s']:.1f} frames/s with {_count(timings['jobs'], 'process', 'processes')}, "
             f"each frame {timings['variants_per_frame']} times")
    times = timings["times_real_time"]
    return [
        ("model", f"{model['name']}: " + ", ".join(f"{m} {d}" for m, d in model["depths"].items())
         + f" layers; fingerprint {results['model']['fingerprint'][:16]}"),
        *(("source", f"{s['name']}, fingerprint {s['fingerprint'][:16]}") for s in results["sources"]),
        ("frames", f"{results['cells'][0]['frames']['n']}" + (f" (at most {asked['limit']})" if asked["limit"] else "")
         + (f", split {asked['split']}" if not evaluation.is_of_bags else "")),
        ("scenes", f"{results['cells'][0]['frames']['scenes']}; one is {results['source']['scene']}"),
        ("corruptions", f"{', '.join(asked['corruptions'])}; as in the {asked['variant']}; seed {asked['seed']}"),
        ("policies", ", ".join(asked["policies"])),
        ("budgets", ", ".join(budget_text(b, long=True) for b in evaluation.budgets)),
        ("speed", speed + (f", {times:.1f} times real time" if times else "")),
        ("machine", f"{machine['device']}, {machine['cores']} cores, torch {machine['torch']}, "
                    f"{machine['peak_memory_mb']:.0f} MB at most"),
        ("version", f"admn_ros {results['version']}"),
        ("results.json", f"SHA-256 {evaluation.fingerprint}"),
    ]
