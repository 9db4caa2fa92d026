# SPDX-License-Identifier: Apache-2.0
"""Run a node as a program: set-up, spinning, and an orderly end."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from admn_ros.errors import AdmnError, InputError
from admn_ros.inference.process_memory import keep_pages
from admn_ros.nodes.fast_dds import use_large_segments
from admn_ros.nodes.parameters import Spec, usage
from admn_ros.nodes.process_signals import catch_signals, lift_limit, on_stop, stop_requested

USAGE_ERROR = 2
"""Exit code of a node that could not be created from its arguments."""


def prepare_process() -> None:
    """Set up transport and allocator for images. Call it before `rclpy.init()`."""
    use_large_segments()
    keep_pages()


@dataclass(frozen=True)
class Program:
    """A node as a program.

    Attributes:
        name: name for `ros2 run`.
        about: docstring of its module, whose first line is part of the help text.
        specs: parameters of the node.
    """

    name: str
    about: str
    specs: Sequence[Spec]


def run_node(factory: Callable[[], Node], program: Program, args: list[str] | None = None,
             returns: bool = False) -> int:
    """Create a node and spin it until Ctrl-C, SIGTERM or shutdown, or print its help text.

    Args:
        factory: creates the node.
        program: describes the node.
        args: command line without the name of the program; that of the process by default.
        returns: whether the caller goes on afterwards. Otherwise the process ends with the node, at the latest
            `process_signals.SHUTDOWN_LIMIT_S` after a signal.

    Returns:
        Exit code: that of the node, or `USAGE_ERROR` after one line on standard error.
    """
    node: Node | None = None
    executor: SingleThreadedExecutor | None = None
    try:
        catch_signals()
        words = sys.argv[1:] if args is None else args
        if {"-h", "--help"} & set(itertools.takewhile(lambda word: word != "--ros-args", words)):
            print(usage(program.name, program.about, program.specs))
            return 0
        prepare_process()
        _init(words)
        executor = SingleThreadedExecutor()
        node = factory()
        if getattr(node, "exit_code", 0) == 0:
            executor.add_node(node)
            _spin(executor)
        if returns:
            lift_limit()
    except ExternalShutdownException:
        pass  # the node ended the context
    except AdmnError as error:
        print(error, file=sys.stderr)
        return USAGE_ERROR
    except RCLError:
        # The node ended the context during a callback that publishes.
        if rclpy.ok():
            raise
    finally:
        if executor is not None:
            executor.shutdown(timeout_sec=1.0)
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return int(getattr(node, "exit_code", 0))


def _init(words: list[str]) -> None:
    """Initialize rclpy.

    Raises:
        InputError: a word is no ROS argument.
    """
    try:
        # rclpy's own signal handlers would shut the context down in the middle of a callback.
        rclpy.init(args=["", *words], signal_handler_options=SignalHandlerOptions.NO)
    except RCLError as error:
        raise InputError("arguments", " ".join(str(error).split()), "ROS arguments; see --help") from error
    other = remove_ros_args(["", *words])[1:]
    if other:
        raise InputError("arguments", " ".join(other), "--help, or ROS arguments after --ros-args")


def _spin(executor: SingleThreadedExecutor) -> None:
    """Call callbacks until a stop is requested or the context ends, each to its end."""
    on_stop(lambda: executor.create_task(lambda: None))  # wakes the executor
    while executor.context.ok() and not stop_requested():
        executor.spin_once()

