# SPDX-License-Identifier: Apache-2.0
"""What every node of this package does before and after it spins."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import rclpy
from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy._rclpy_pybind11 import RCLError
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from admn_ros.errors import AdmnError
from admn_ros.nodes.process_signals import leave_soon, obey_signals

# mallopt(3) parameters: keep image-sized blocks on the heap, so that each message does not fault in
# fresh pages, which costs as much as receiving it.
NEEDED_SHARED_MEMORY_MIB = 100  # segments of three participants
_MALLOC = {-3: 32 << 20, -1: 512 << 20, -2: 64 << 20}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD


def share_directory() -> Path:
    """Where launch, config and models are: the checkout of an editable install, or the prefix."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "package.xml").is_file():
        return checkout
    try:
        return Path(get_package_share_directory("admn_ros"))
    except PackageNotFoundError:
        return checkout


def resolve(name: str, folder: str, suffix: str = "") -> Path:
    """A path as given, or the shipped file or folder of that name (`gdtm` is config/gdtm.yaml)."""
    given = Path(name).expanduser()
    if given.exists() or given.is_absolute() or len(given.parts) > 1:
        return given
    shipped = share_directory() / folder / f"{name}{suffix}"
    return shipped if shipped.exists() else given


def prepare_middleware() -> None:
    """Large shared-memory segment for images, and an allocator that keeps their pages.

    Call before `rclpy.init()`. A profile that the user chose in the environment stays. With Fast
    DDS's own settings, many best-effort images are lost between processes.
    """
    profile = share_directory() / "config" / "fastdds_large_images.xml"
    if profile.is_file() and "FASTRTPS_DEFAULT_PROFILES_FILE" not in os.environ:
        if _shared_memory_mib() >= NEEDED_SHARED_MEMORY_MIB:
            os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = str(profile)
        else:
            print(f"/dev/shm: found {_shared_memory_mib()} MiB free; {NEEDED_SHARED_MEMORY_MIB} are needed to pass "
                  "images without loss (docker: --shm-size=256m). Going on with small segments.", file=sys.stderr)
    try:
        libc = ctypes.CDLL(None)
        for parameter, value in _MALLOC.items():
            libc.mallopt(parameter, value)
    except (OSError, AttributeError):  # another C library: only speed is lost
        pass


def _shared_memory_mib() -> int:
    try:
        space = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return space.f_bavail * space.f_frsize >> 20


def run_node(factory: Callable[[], Node], args: list[str] | None = None, returns: bool = False) -> int:
    """Init, make the node, spin until Ctrl-C, SIGTERM or shutdown; exit without a traceback.

    returns: the caller has something to do afterwards. Otherwise the process ends with the node, and within
        `starting.LEAVE_S` whatever still runs then.

    Returns the exit code: 2, after one line, where the node could not be made of its arguments.
    """
    node: Node | None = None
    executor: SingleThreadedExecutor | None = None
    ended = False
    try:
        obey_signals()
        prepare_middleware()
        try:
            rclpy.init(args=sys.argv if args is None else args)
        except RCLError as error:
            print(f"arguments: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        executor = SingleThreadedExecutor()
        node = factory()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        ended = True
    except AdmnError as error:
        print(error, file=sys.stderr)
        return 2
    except (InvalidParameterTypeException, InvalidParameterValueException) as error:
        print(f"parameter: {error}. (A number with a point is a double, one without is an integer.)", file=sys.stderr)
        return 2
    except RCLError:
        # A SIGTERM in the middle of a publishing callback invalidates the context under it.
        if rclpy.ok():
            raise
    finally:
        # A second Ctrl-C, as launch and shells send it, must not interrupt the tidying up.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        limit = leave_soon(getattr(node, "exit_code", 0)) if ended and not returns else None
        if executor is not None:
            executor.shutdown(timeout_sec=1.0)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
        if limit is not None:
            limit.cancel()
    return getattr(node, "exit_code", 0)
