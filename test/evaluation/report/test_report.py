# SPDX-License-Identifier: Apache-2.0
"""Reports: content of the page, figures, excerpts of recordings, and refused input."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admn_ros.cli import main
from admn_ros.errors import InputError
from admn_ros.evaluation.report.allocation import principal_plane
from admn_ros.evaluation.report.context import gather_context, read_context
from admn_ros.evaluation.report.data import read_evaluation
from admn_ros.evaluation.report.make import make_report
from admn_ros.evaluation.report.moments import moments, stretches
from admn_ros.evaluation.run import evaluate
from admn_ros.sample import Modality
from admn_ros.views.palette import THEME

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]   # a busy machine draws slowly
FIGURES = ("allocation", "error_budget", "error_cdf", "latency", "latent", "timeline")
VOID = {"meta", "link", "img", "br", "use", "path", "rect"}


class Page(HTMLParser):
    """Every tag with its attributes; fails on tags that are not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.text = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(self.text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, attrs)
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def body(self) -> str:
        return " ".join(" ".join(self.words).split())


# --- the page -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("which", ["evaluated", "evaluated_bag"])
def test_the_page_is_self_contained(which, request):
    folder: Path = request.getfixturevalue(which)
    page = Page(folder / "report.html")
    assert page.text.startswith("<!DOCTYPE html>") and page.all("html") == [{"lang": "en"}]
    policy = next(m for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert not {"script", "iframe", "object", "form", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert value.startswith("data:") or "//" not in value, (tag, name, value[:80])
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href"):
                assert value.startswith(("data:", "#")), (tag, value[:80])
    assert set(re.findall(r"url\((.)", page.text)) <= {"#"} and "@import" not in page.text
    identifiers = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    pointed = {a["href"][1:] for a in page.all("use")} | set(re.findall(r"url\(#([^)]+)\)", page.text))
    assert pointed and pointed <= set(identifiers)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["evaluated", "evaluated_bag"])
def test_figures_have_text_alternatives(which, request):
    page = Page(request.getfixturevalue(which) / "report.html")
    assert len(page.all("figure")) == len(page.all("figcaption")) == len(FIGURES)
    assert sorted(figure["id"] for figure in page.all("figure")) == list(FIGURES)
    drawings, pictures = page.all("svg"), page.all("img")
    assert len(drawings) > len(FIGURES) and pictures
    assert all(svg["role"] == "img" and len(svg["aria-label"]) > 10 for svg in drawings)
    assert all(re.fullmatch(r"\w+ of node\d", image["alt"]) for image in pictures)
    assert page.all("table") and all(table["aria-label"] for table in page.all("table"))
    assert all(head["scope"] in ("col", "row") for head in page.all("th"))
    assert len(page.all("h1")) == 1


def test_figures_follow_the_theme_of_the_page(evaluated):
    text = (evaluated / "report.html").read_text(encoding="utf-8")
    head, body = text.split("</style>", 1)
    assert "prefers-color-scheme: dark" in head
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", re.sub(r'(href="#|id=")\w+|url\(#\w+', "", body))
    assert set(re.findall(r"var\(--([a-z0-9-]+)\)", text)) <= {*THEME, "key"}
    assert all(light != dark for light, dark in THEME.values())
    assert len({light for light, _ in THEME.values()}) == len(THEME)


def test_the_head_reports_the_accuracy(evaluated):
    output = Page(evaluated / "report.html").body
    results = json.loads((evaluated / "results.json").read_text())
    assert "This model is untrained" in output
    clean, bad = (next(c for c in results["cells"] if c["corruption"] == name and c["budget"]["limit"] == 2.0
                       and c["policy"] == "allocate")["error_cm"]["mean"] for name in ("clean", "room-all"))
    assert f"{clean:.1f} cm" in output and f"{bad:.1f} cm" in output and "No frame exceeded its budget" in output
    assert "0 of 360" in output.replace("\u202f", "")


def test_a_moment_says_what_ran_and_why_not(evaluated):
    page = Page(evaluated / "report.html")
    results = json.loads((evaluated / "results.json").read_text())
    described = results["described_model"]
    whys = [t for t in page.all("table") if t.get("class") == "why"]
    inputs = len(described["depths"]) * len(described["sensor_nodes"])
    cells = [a for tag, a in page.tags if tag == "td" and a.get("class") in ("ran", "left")]
    assert whys and len(cells) == inputs * len(whys)
    assert {"ran", "left"} == {a["class"] for a in cells} and "does not fit into the budget" in page.body
    timeline = json.loads((evaluated / "figures" / "timeline.json").read_text())["numbers"]
    assert any("does not fit into the budget" in line for panel in timeline for moment in panel["moments"]
               for line in moment["left_out"])


def test_the_reason_of_an_evaluated_frame_is_one_line(evaluated, capsys):
    records = read_evaluation(evaluated).records["clean"]
    names = records["why"].shape[2]
    for scene in ("shard-00000", "shard-00001"):
        row = np.flatnonzero(records["scene"] == scene)[2]
        assert main(["why", str(evaluated), "--at", "1", "--budget", "2", "--scene", scene]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1 + names and lines[0].startswith(f"1.000 s {scene} budget 2 layers")
        assert sum(" ran" in line for line in lines[1:]) == records["ran"][row, 0].sum()
    for arguments, says in ((["--budget", "77"], "--budget: found 77"), (["--policy", "x"], "--policy: found x"),
                            (["--corruption", "x"], "--corruption: found x"), (["--scene", "x"], "--scene: found x"),
                            ([], "--scene: missing; required: one of the ")):
        assert main(["why", str(evaluated), "--at", "0", *arguments]) == 2
        assert says in capsys.readouterr().err


def test_names_of_recordings_are_text(evaluated_bag):
    page = Page(evaluated_bag / "report.html")
    assert "trace trace <b>.csv" in page.body
    assert len(page.all("b")) == len(re.findall(r"<h3><b>\d</b>", page.text))   # those are the moments' numbers


# --- files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["evaluated", "evaluated_bag"])
def test_each_figure_is_a_picture_and_numbers(which, request):
    folder: Path = request.getfixturevalue(which)
    assert sorted(p.name for p in (folder / "figures").iterdir()) == sorted(
        f"{name}.{ending}" for name in FIGURES for ending in ("json", "png"))
    for name in FIGURES:
        picture = cv2.imread(str(folder / "figures" / f"{name}.png"))
        assert picture is not None and min(picture.shape[:2]) > 200 and picture.std() > 3, name
        written = json.loads((folder / "figures" / f"{name}.json").read_text())
        assert written["numbers"] and written["caption"] and written["absent"] is None


def test_numbers_of_the_figures_are_those_of_the_results(evaluated):
    def numbers_of(name: str) -> list[dict]:
        return json.loads((evaluated / "figures" / f"{name}.json").read_text())["numbers"]

    results = json.loads((evaluated / "results.json").read_text())
    cells = {(c["corruption"], c["policy"], c["budget"]["limit"]): c for c in results["cells"]}
    for panel in numbers_of("error_budget"):
        for curve in panel["policies"]:
            for limit, point in zip((2.0, 5.0, None), curve["points"], strict=True):
                error = cells[panel["corruption"], curve["policy"], limit]["error_cm"]
                assert [point["mean_cm"], point["low"], point["high"]] == [error["mean"], *error["mean_interval"]]
    for panel in numbers_of("error_cdf"):
        for limit, line in zip((2.0, 5.0, None), panel["lines"], strict=True):
            assert line["error_cm"][50] == pytest.approx(
                cells[panel["corruption"], "allocate", limit]["error_cm"]["median"], abs=1e-3)
    whole = next(row for row in numbers_of("allocation")[0]["rows"] if row["frames"] == "clean: all")
    assert whole["layers"] == pytest.approx(cells["clean", "allocate", 2.0]["layers"]["per_modality"], abs=1e-3)


@pytest.mark.slow
def test_the_same_results_give_the_same_page(evaluated, tmp_path):
    folder = shutil.copytree(evaluated, tmp_path / "copy")
    files = ["report.html", "results.json", "records/clean.npz", *(f"figures/{name}.png" for name in FIGURES)]
    before = [(folder / name).read_bytes() for name in files]
    (folder / "report.html").write_text("something else")
    assert main(["report", "make", str(folder)]) == 0
    assert [(folder / name).read_bytes() for name in files] == before


@pytest.mark.slow
def test_a_report_without_context_has_no_images(evaluated, tmp_path):
    folder = shutil.copytree(evaluated, tmp_path / "copy")
    (folder / "context.json").unlink()
    page = Page(make_report(folder))
    assert not page.all("img") and "No images:" in page.body
    assert [p["alt"] for p in page.all("img")] == [] and "GFLOPs" not in [w.strip() for w in page.words]


def test_the_context_of_other_results_is_ignored(evaluated, tmp_path):
    folder = shutil.copytree(evaluated, tmp_path / "copy")
    text = (folder / "context.json").read_text()
    (folder / "context.json").write_text(re.sub(r'"results": "\w+"', '"results": "other"', text))
    assert read_context(folder, read_evaluation(folder)) == {}


# --- what is refused ----------------------------------------------------------------------------------


def test_an_unfinished_evaluation_has_no_report(evaluated, tmp_path, capsys):
    folder = shutil.copytree(evaluated, tmp_path / "copy")
    (folder / "report.html").unlink()
    (folder / "results.json").rename(folder / "kept")
    assert main(["report", "make", str(folder)]) == 2
    text = json.loads((folder / "kept").read_text())
    del text["complete"]
    (folder / "results.json").write_text(json.dumps(text))
    assert main(["report", "make", str(folder)]) == 2
    assert "incomplete results" in capsys.readouterr().err
    (folder / "kept").rename(folder / "results.json")
    (folder / "records" / "clean.npz").unlink()
    assert main(["report", "make", str(folder)]) == 2
    assert "clean.npz" in capsys.readouterr().err
    assert main(["report", "make", str(tmp_path / "nowhere")]) == 2
    assert not (folder / "report.html").exists()


def test_records_of_other_results_are_refused(evaluated, evaluated_bag, tmp_path):
    folder = shutil.copytree(evaluated, tmp_path / "copy")
    shutil.copy(evaluated_bag / "records" / "clean.npz", folder / "records" / "clean.npz")
    with pytest.raises(InputError, match=r"as in results\.json"):
        make_report(folder)


@pytest.mark.slow
def test_a_new_evaluation_removes_the_old_report(evaluated, dataset, model, tmp_path, capsys):
    folder = shutil.copytree(evaluated, tmp_path / "copy")
    arguments = ["evaluate", str(dataset), "--model", str(model), "--out", str(folder), "--limit", "6", "--no-report"]
    assert main([*arguments, "--force"]) == 0
    assert {p.name for p in folder.iterdir()} == {"run.json", "results.json", "timings.json", "records", "times"}
    assert main([*arguments[:-1], "--resume"]) == 0
    assert str(folder / "report.html") in capsys.readouterr().out
    assert Page(folder / "report.html").all("img")


# --- what there may not be ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("changes", [
    {"limit": 1, "corruptions": ["clean"], "budgets": [None]},
    {"limit": 6, "policies": ["naive"], "budgets": [0, 3]},
    {"limit": 6, "policies": ["static:rgb=2,depth=2"], "budgets": [2], "corruptions": ["room-all"]},
    {"limit": 6, "unit": "gflops", "budgets": [0.02, None]}])
def test_a_small_evaluation_has_a_report(make_plan, tmp_path, changes):
    plan = make_plan(**changes)
    evaluate(plan, tmp_path / "out")
    gather_context(plan, tmp_path / "out")
    page = Page(make_report(tmp_path / "out"))
    assert "nan" not in page.body.lower().split() and len(page.all("h2")) >= 7


def test_a_bag_without_truth_has_a_report(make_bag_plan, write_bag, tmp_path):
    plan = make_bag_plan(write_bag(tmp_path / "bag", truth=None, ticks=8))
    evaluate(plan, tmp_path / "out")
    gather_context(plan, tmp_path / "out")
    page = Page(make_report(tmp_path / "out"))
    assert "Errors are omitted: there is no ground truth" in page.body
    assert "no frame has both an estimate and a true position" in page.body


# --- moments and context ------------------------------------------------------------------------------


def test_moments_match_the_records(evaluated_bag):
    evaluation = read_evaluation(evaluated_bag)
    stretch = next(s for s in stretches(evaluation) if s.corruption == "room-all")
    columns = evaluation.records["room-all"]
    found = {moment.kind: moment for moment in moments(evaluation, stretch)}
    errors = evaluation.errors_cm("room-all", stretch.variant)
    assert errors[found["worst"].row] == np.nanmax(errors)
    granted = columns["granted"][:, stretch.variant]
    assert (granted[found["drop"].row - 1], granted[found["drop"].row]) == (9, 3)
    lost = found["missing"].row
    assert ((columns["nodes"][lost] == 0) & (columns["nodes"][lost - 1] > 0)).any()
    written = json.loads((evaluated_bag / "figures" / "timeline.json").read_text())["numbers"][1]
    assert [m["number"] for m in written["moments"]] == [1, 2, 3, 4]
    assert max(written["x"]) < 3 and written["temperatures_c"] == {"soc": [
        [pytest.approx(k / 15, abs=0.01), 60.0 + k] for k in range(0, 24, 6)]}


def test_thumbnails_show_missing_inputs(evaluated_bag):
    evaluation = read_evaluation(evaluated_bag)
    pictures = json.loads((evaluated_bag / "context.json").read_text())["pictures"]
    for corruption, rows in pictures.items():
        for row, nodes in rows.items():
            for k, modality in enumerate(evaluation.modalities):
                there = sum(files[modality] is not None for files in nodes.values())
                assert there == evaluation.records[corruption]["nodes"][int(row), k]
                for file in filter(None, (files[modality] for files in nodes.values())):
                    assert cv2.imread(str(evaluated_bag / "moments" / file)) is not None


def test_the_context_is_gathered_once(evaluated_bag, make_bag_plan, tmp_path):
    folder = shutil.copytree(evaluated_bag, tmp_path / "copy")
    gather_context(make_bag_plan(tmp_path / "not there any more"), folder)
    assert (folder / "context.json").read_bytes() == (evaluated_bag / "context.json").read_bytes()


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_plane_is_that_of_the_largest_variance(seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))
    plane, explained = principal_plane(points)
    values = np.linalg.eigvalsh(np.cov(points.T))[::-1]
    assert plane.var(axis=0, ddof=1) == pytest.approx(values[:2])
    assert explained == pytest.approx(values[:2] / values.sum())
    turned, _ = principal_plane(points[::-1])
    assert turned[::-1] == pytest.approx(plane, abs=1e-6)


def test_modality_colours_are_distinguishable_with_colour_blindness():
    """As the three common kinds of colour blindness see them (Machado, Oliveira and Fernandes 2009, severity 1)."""
    eyes = [np.eye(3), *(np.array(rows).reshape(3, 3) for rows in (
        (0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.011820, 0.042940, 0.968881),
        (0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998),
        (1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.303900)))]
    for dark in (0, 1):
        colours = [_linear(THEME[str(m)][dark]) for m in Modality]
        for eye in eyes:
            seen = [_lab(eye @ colour) for colour in colours]
            apart = min(np.linalg.norm(a - b) for k, a in enumerate(seen) for b in seen[:k])
            assert apart > 20


def _linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[k:k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    pixel = np.clip(linear, 0, 1).astype(np.float32).reshape(1, 1, 3)
    pixel = np.where(pixel <= 0.0031308, 12.92 * pixel, 1.055 * pixel ** (1 / 2.4) - 0.055).astype(np.float32)
    return cv2.cvtColor(pixel, cv2.COLOR_RGB2LAB)[0, 0]


