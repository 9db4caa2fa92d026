# SPDX-License-Identifier: Apache-2.0
"""Set-up of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch._dynamo  # PyTorch imports it late; once that fails inside a test that expects an error, it always fails
from hypothesis import HealthCheck, settings

pytest_plugins = ["helpers.fixtures"]
# No test depends on how much of the processor it gets.
settings.register_profile("any_speed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any_speed")
torch.set_num_threads(1)  # more threads slow small networks down


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's cache out of the tests, and the tests out of it."""
    os.environ["ADMN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let parallel processes begin with the files that take longest, so that the end is not one of them alone.

    Those are the files with a test that is allowed more time than usual, then the ones with slow tests.
    """
    if hasattr(config, "workerinput"):
        begins: dict[Path, float] = {}
        for item in items:
            allowed, slow = item.get_closest_marker("timeout"), item.get_closest_marker("slow")
            seconds = float(allowed.args[0]) if allowed is not None and allowed.args else float(slow is not None)
            begins[item.path] = max(begins.get(item.path, 0.0), seconds)
        items.sort(key=lambda item: -begins[item.path])


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("cuda") is not None and not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of third-party recordings: $ADMN_SHARED_DATA, or ../shared/data."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ADMN_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing; its license keeps it out of the repository")
    return folder
