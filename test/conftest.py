# SPDX-License-Identifier: Apache-2.0
"""Set-up of all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

pytest_plugins = ["helpers.fixtures"]
torch.set_num_threads(1)  # more threads slow small networks down


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's cache out of the tests, and the tests out of it."""
    os.environ["ADMN_CACHE"] = str(tmp_path_factory.mktemp("cache"))


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
