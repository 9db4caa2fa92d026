# SPDX-License-Identifier: Apache-2.0
"""The workers of a Dask cluster in the place of processes of this machine: a real scheduler, real workers."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from admn_ros import cluster
from admn_ros.benchmark.tables.run import RESULTS
from admn_ros.cli import main
from admn_ros.config import read_yaml
from admn_ros.errors import ConfigError, InputError
from admn_ros.evaluation.run import evaluate
from admn_ros.files import read_json
from admn_ros.worker_process import worker_pool
from helpers.dask_cluster import DEATH, DaskCluster

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("distributed", reason='needs Dask: pip install "admn_ros[cluster]"')
pytestmark = pytest.mark.timeout(600)   # a busy machine starts processes slowly


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "WORKER_S", 300.0)
    monkeypatch.setattr(cluster, "ANSWER_S", 300.0)


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler and two workers."""
    made = DaskCluster(tmp_path_factory.mktemp("dask"))
    for _ in range(2):
        made.add_mortal_worker()
    yield made
    made.close()


def hashes(folder: Path) -> dict[str, str]:
    """Of everything that does not say how long it took."""
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.rglob("*")) if file.is_file() and not {"timings.json", "times"} & {*file.parts}}


@pytest.mark.slow
def test_processes_start_once_where_the_command_runs_and_errors_arrive_whole(dask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with worker_pool(1, os.putenv, "NAME", "7", scheduler=dask.address) as pool:
        assert pool.submit(os.path.abspath, "file").result() == str(tmp_path / "file")
        pool.submit(Path("made").mkdir)
        with pytest.raises(InputError, match="nowhere") as refused:
            pool.submit(read_json, Path("nowhere.json")).result()
    assert refused.value.field == "nowhere.json"
    assert Path("made").is_dir(), "the end of the block waits"
    with pytest.raises(ZeroDivisionError), worker_pool(1, divmod, 1, 0, scheduler=dask.address) as pool:
        pool.submit(os.getpid).result()


@pytest.mark.slow
def test_a_worker_that_dies_costs_its_unit_and_the_bytes_stay_the_same(dask, make_bag_plan, bag, write_bag, tmp_path,
                                                                       monkeypatch):
    monkeypatch.chdir(tmp_path)
    bags = [bag, write_bag(Path("other"), storage="sqlite3", ticks=9, truth="map")]   # the cluster gets a relative path
    plan = make_bag_plan(*bags, hold_s=0.4, changes={"corruptions": ["clean", "room-all"], "seed": 3})
    seen = list[int]()
    alone = evaluate(plan, Path("alone"))
    Path(DEATH).touch()
    assert evaluate(plan, Path("cluster"), scheduler=dask.address, progress=lambda done, _: seen.append(done)) == alone
    assert not Path(DEATH).exists(), "no worker has died"
    assert hashes(tmp_path / "cluster") == hashes(tmp_path / "alone")
    assert seen == sorted(seen) and seen[-1] == sum(cell["frames"]["n"] for cell in alone["cells"])
    assert read_json(Path("cluster/timings.json"))["jobs"] in (1, 2)


@pytest.mark.slow
def test_a_cluster_that_cannot_be_used_is_one_clear_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "ANSWER_S", 0.5)
    arguments = ["simulate", "--dataset", str(tmp_path / "room"), "--frames", "2", "--scheduler"]
    assert main([*arguments, "127.0.0.1:1"]) == 2
    assert "scheduler: found 127.0.0.1:1; allowed: the address of a Dask scheduler" in capsys.readouterr().err
    assert main([*arguments, "nonsense"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "missing port number" in line
    monkeypatch.setattr(cluster, "ANSWER_S", 300.0)
    (tmp_path / "dask").mkdir()
    made = DaskCluster(tmp_path / "dask")
    try:
        monkeypatch.setattr(cluster, "WORKER_S", 0.5)
        assert main([*arguments, made.address]) == 2
        assert "without workers; allowed: one with workers (dask worker tcp" in capsys.readouterr().err
        monkeypatch.setattr(cluster, "WORKER_S", 300.0)
        made.add_worker("--nthreads", "2")
        assert main([*arguments, made.address]) == 2
        assert "found 2 threads; allowed: 1 (--nthreads 1)" in capsys.readouterr().err
    finally:
        made.close()


def test_jobs_and_a_scheduler_exclude_each_other(tmp_path, capsys):
    jobs = str(os.cpu_count())   # also where it is the default
    assert main(["simulate", "--dataset", str(tmp_path), "--jobs", jobs, "--scheduler", "localhost:1"]) == 2
    assert "--scheduler: conflicts with --jobs; only one of them is possible" in capsys.readouterr().err


def test_without_dask_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"package distributed: missing; required: pip install"), \
            cluster.cluster_pool("localhost:1"):
        pass


@pytest.mark.slow
@pytest.mark.nightly
def test_a_dataset_and_result_tables_are_made_on_a_cluster(dask, tmp_path):
    dask.add_mortal_worker()   # there may be one left
    room = ["simulate", "--frames", "20", "--nodes", "1", "--audio-s", "0.1", "--room-frames", "4", "--dataset"]
    for name, where in (("alone", ["--jobs", "1"]), ("cluster", ["--scheduler", dask.address])):
        if main([*room, str(tmp_path / name), *where]):
            pytest.skip("no renderer for the simulator")
    assert hashes(tmp_path / "cluster") == hashes(tmp_path / "alone")
    grid = read_yaml(ROOT / "config/tables/small.yaml")
    grid["grid"] = [{"corruptions": ["room-gaussian", "room-blur"], "budgets": [6], "methods": ["naive", "rgb_only"]}]
    for split in ("train", "validation", "test"):
        grid[split] |= {"samples": 4, "viewpoints": ["node1"]}
    grid["efforts"]["finetune"] = {"epochs": 1, "rates": [1e-3]}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    found = []
    for name, where in (("one", []), ("several", ["--scheduler", dask.address])):
        assert main(["tables", str(tmp_path / "grid.yaml"), "--data", str(tmp_path / "alone"), "--threads", "1", *where,
                     "--work", str(tmp_path / f"{name}-work"), "--out", str(tmp_path / name), "--device", "cpu"]) == 0
        found.append({file.name: {**read_json(file), "training": None, "command": None}
                      for file in (tmp_path / name / RESULTS).glob("*.json")})
    assert found[0] == found[1] and len(found[0]) == 4
