# SPDX-License-Identifier: Apache-2.0
"""Perception on live sensors, on a recording, or on a simulated room.

    ros2 launch admn_ros gdtm.launch.py model:=/path/to/model
    ros2 launch admn_ros gdtm.launch.py bag:=/path/to/bag rviz:=true
    ros2 launch admn_ros gdtm.launch.py sim:=true foxglove:=true
    ros2 launch admn_ros gdtm.launch.py governor:=true battery_topic:=/base/battery_state

Arguments that are given override params_file, which overrides the defaults. See docs/launch.md.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, EmitEvent, LogInfo, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from admn_ros.errors import ConfigError
from admn_ros.parameter_sections import applies, sections_of
from admn_ros.share import find_shipped, share_directory

SHOWN = ("pose", "odometry", "markers", "sensor_nodes", "debug_image")  # topics in config/gdtm.rviz, below /admn
RESPAWN_DELAY_S = 2.0

ARGUMENTS = (
    ("model", "", "Model folder, name of a shipped model, or untrained:PRESET for random weights (meaningless "
     "estimates). Empty: that of params_file, else gdtm."),
    ("sensors", "", "Deployment file (sensor nodes, topics, synchronization), or the name of one in config/. Empty: "
     "that of params_file, else gdtm."),
    ("budget", "", "Default budget, used while no valid budget is published; -1 uses that of the deployment file."),
    ("budget_unit", "", "Unit of the default budget."),
    ("device", "", "Device of the network; auto is a GPU if there is one."),
    ("engine", "", "What computes the network; onnxruntime needs a model folder of `admn export`."),
    ("providers", "", "Execution providers of ONNX Runtime in order of preference, separated by commas."),
    ("precision", "", "Precision of the layers of the backbones, in torch on a GPU."),
    ("params_file", "", "YAML file with parameters of the perception node. Arguments that are given override it."),
    ("parameters", "", "Old name of params_file."),
    ("autostart", "", "Configure and activate at start-up; false leaves that to a lifecycle manager. Empty: that of "
     "params_file, else true."),
    ("use_respawn", "false", "Start a node again that ends by itself. Without it the launch ends with an error."),
    ("governor", "false", "Start the governor, which makes the budget from temperatures, battery, power and "
     "NAME_governor/budget_request. Without it, or when it is killed, the default budget is used."),
    ("governor_file", "", "YAML file with parameters of the governor; empty for config/governor.yaml, and "
     "gdtm_governor.yaml for the shipped model."),
    ("temperature_topic", "temperature", "sensor_msgs/Temperature for the governor, which also reads /diagnostics."),
    ("battery_topic", "battery_state", "sensor_msgs/BatteryState for the governor."),
    ("watts_topic", "watts", "std_msgs/Float32 for the governor: power of the whole board, in watts."),
    ("bag", "", "Recording to replay; the launch ends with it. Empty for live sensors."),
    ("sim", "false", "Simulate the room for an hour; requires MuJoCo (pip install mujoco) and EGL. Ignored with bag."),
    ("seed", "7", "Seed of the simulated room."),
    ("rate", "1.0", "Speed of replay or simulation, as a multiple of real time."),
    ("rviz", "false", "Open RViz with the configuration config/gdtm.rviz."),
    ("foxglove", "false", "Start foxglove_bridge; the layout for the app is config/gdtm_foxglove.json."),
    ("foxglove_port", "8765", "Port of foxglove_bridge on the loopback interface."),
    ("use_sim_time", "", "Use the time of /clock. Empty: that of params_file, else true with bag or sim."),
    ("namespace", "", "Namespace of the nodes and of their relative topics."),
    ("name", "admn", "Name of the perception node, and prefix of its topics."),
    ("log_level", "info", "Least severe log messages shown."),
)
GIVEN = ("model", "sensors", "device", "engine", "providers", "precision", "budget_unit")  # parameters of the node
BOOLEANS = ["true", "false", "True", "False"]
CHOICES = {
    **dict.fromkeys(("foxglove", "governor", "rviz", "sim", "use_respawn"), BOOLEANS),
    "autostart": ["", *BOOLEANS],
    "budget_unit": ["", "layers", "gflops", "milliseconds", "joules", "watts"],
    "device": ["", "auto", "cpu", "cuda"],
    "engine": ["", "torch", "onnxruntime"],
    "precision": ["", "float32", "bfloat16", "float16"],
    "use_sim_time": ["", "auto", *BOOLEANS],
    "log_level": ["debug", "info", "warn", "error", "fatal"],
}
PART = r"[A-Za-z_]\w*"
NAMES = (("name", PART, "letters, digits and underscores, no digit first"),
         ("namespace", f"/?({PART}(/{PART})*)?/?", "parts of letters, digits and underscores, with / between them"),
         *((f"{topic}_topic", f"(~?/)?{PART}(/{PART})*", "the name of a topic")
           for topic in ("temperature", "battery", "watts")))


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Create the nodes for the values of the launch arguments.

    Raises:
        ConfigError: the value of an argument cannot be used. launch prints it in one line and ends with exit code 1.
    """
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    value |= {name: value[name].lower() for name, choices in CHOICES.items() if "True" in choices}
    value["params_file"] = str(Path(value["params_file"] or value["parameters"]).expanduser()) \
        if value["params_file"] or value["parameters"] else ""
    own = full_name(value, LaunchConfiguration("ros_namespace", default="").perform(context))
    in_file = read_parameters(value["params_file"], own)
    check(value)
    clocked = value["bag"] != "" or value["sim"] == "true"
    defaults = {"model": "gdtm", "autostart": "true", "use_sim_time": str(clocked).lower()}
    given = given_parameters(value)
    sim_time = {**{"use_sim_time": clocked}, **in_file, **given}["use_sim_time"]
    respawn = {"respawn": value["use_respawn"] == "true", "respawn_delay": RESPAWN_DELAY_S}
    common = {"namespace": value["namespace"], "output": "screen", "additional_env": {"ADMN_END_WITH_PARENT": "1"}}
    perception = Node(
        package="admn_ros", executable="perception", name=value["name"], arguments=ros_arguments(value, defaults),
        parameters=[*([value["params_file"]] if value["params_file"] else []), *([given] if given else [])],
        **common, **respawn)
    actions = [perception, when_ended(perception, value)]
    if value["governor"] == "true":
        model = str({"model": "gdtm", **in_file, **given}["model"])
        governor = Node(
            package="admn_ros", executable="governor", name=f"{value['name']}_governor",
            arguments=ros_arguments(value, {"autostart": defaults["autostart"]}),
            parameters=[*governor_files(value["governor_file"], model), {
                # Models with random weights have no folder to read costs from.
                "model": "" if model.startswith("untrained:") else model, "use_sim_time": sim_time,
                **{name: given[name] for name in ("autostart",) if name in given}}],
            remappings=[("admn/budget", f"{value['name']}/budget"), ("temperature", value["temperature_topic"]),
                        ("battery_state", value["battery_topic"]), ("watts", value["watts_topic"])],
            **common, **respawn)
        actions += [governor, when_ended(governor, value, survives_kill=True)]
    source = {"arguments": ros_arguments(value, {}), **common}
    if value["bag"]:
        replay = Node(package="admn_ros", executable="replay", name="replay",
                      parameters=[{"bag": value["bag"], "rate": float(value["rate"])}], **source)
        actions += [replay, shut_down_after(replay)]
    elif value["sim"] == "true":
        simulator = Node(package="admn_ros", executable="simulator", name="simulator", parameters=[
            {"seed": int(value["seed"]), "rate": float(value["rate"]), "seconds": 3600.0}], **source)
        actions += [simulator, shut_down_after(simulator)]
    return [*misspelt(context.launch_configurations), *actions, *viewers(context, value, own, sim_time)]


def misspelt(given: Iterable[str]) -> list[LaunchDescriptionEntity]:
    """Name arguments that are nearly those of this file; others may be of an including file."""
    names = [name for name, _, _ in ARGUMENTS]
    return [LogInfo(msg=f"{name}: no argument of gdtm.launch.py, which is ignored; like {near}")
            for name in given if name not in names for near in get_close_matches(name, names, 1, 0.8)]


def governor_files(given: str, model: str) -> list[str]:
    """Return the parameter files of the governor: the given one, or the shipped ones, with that of a shipped model."""
    shipped = (share_directory() / "config" / name for name in ("governor.yaml", f"{model}_governor.yaml"))
    return [str(Path(given).expanduser())] if given else [str(file) for file in shipped if file.is_file()]


def full_name(value: Mapping[str, str], pushed: str) -> str:
    """Return the full name of the perception node.

    Args:
        value: values of the launch arguments.
        pushed: namespace that PushRosNamespace of an including launch file set. An absolute one replaces it.
    """
    spaces = [value["namespace"]] if value["namespace"].startswith("/") else [pushed, value["namespace"]]
    return "/".join(["", *filter(None, (space.strip("/") for space in spaces)), value["name"]])


def check(value: Mapping[str, str]) -> None:
    """Check numbers and files, so that an error names the argument.

    Raises:
        ConfigError: a number is none or out of range, a name is none in ROS, or a file is missing.
    """
    for name, kind, low, high in (("rate", float, 0.01, 100.0), ("seed", int, 0, 2**31 - 1),
                                  ("foxglove_port", int, 1, 65535)):
        if not in_range(value[name], kind, low, high):
            what = f"a {'whole number' if kind is int else 'number'} from {low} to {high}"
            raise ConfigError(name, repr(value[name]), what)
    if value["budget"] and not (in_range(value["budget"], float, 0, 1e9) or in_range(value["budget"], float, -1, -1)):
        raise ConfigError("budget", repr(value["budget"]), "a number from 0 to 1e9, or -1: that of the deployment file")
    for name, pattern, what in NAMES:
        if not re.fullmatch(pattern, value[name], re.ASCII):
            raise ConfigError(name, repr(value[name]), what)
    model, sensors = find_shipped(value["model"], "models"), find_shipped(value["sensors"], "config", ".yaml")
    if value["model"] and not value["model"].startswith("untrained:") and not (model / "config.yaml").is_file():
        raise ConfigError("model", repr(value["model"]), "a model folder, a shipped one, or untrained:PRESET")
    if value["sensors"] and not sensors.is_file():
        raise ConfigError("sensors", repr(value["sensors"]), "a deployment file, or the name of a shipped one")
    if value["governor_file"] and not Path(value["governor_file"]).expanduser().is_file():
        raise ConfigError("governor_file", repr(value["governor_file"]), "a YAML file with parameters")
    if value["bag"] and not Path(value["bag"]).expanduser().exists():
        raise ConfigError("bag", repr(value["bag"]), "a rosbag2 folder, or one .mcap or .db3 file")


def in_range(text: str, kind: type, low: float, high: float) -> bool:
    """Return whether a text is a number of a kind, from `low` to `high`."""
    try:
        return bool(low <= kind(text) <= high)
    except ValueError:
        return False


def read_parameters(file: str, node: str) -> dict[str, object]:
    """Return the parameters of a node in a parameter file; none without a file.

    Args:
        file: path of the file, or an empty text.
        node: full name of the node.

    Raises:
        ConfigError: the file is missing, is no parameter file, or has no section that applies to the node.
    """
    if not file:
        return {}
    try:
        sections = list(sections_of(yaml.safe_load(Path(file).read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError("params_file", " ".join(f"{file}: {error}".split()), "a YAML file with parameters") from error
    for name, section in sections:
        if not isinstance(section, dict):
            found = f"{name} without ros__parameters" if name else "no mapping"
            raise ConfigError("params_file", f"{file} with {found}", f"{node}: {{ros__parameters: ...}}")
    fitting = [section for name, section in sections if applies(name, node)]
    if not fitting:
        names = ", ".join(name for name, _ in sections)
        raise ConfigError("params_file", f"{file} with {names}", f"a section /** or {node}")
    return {name: setting for section in fitting for name, setting in section.items()}  # later sections override


def given_parameters(value: Mapping[str, str]) -> dict[str, object]:
    """Return the parameters of the perception node that were given as arguments."""
    found: dict[str, object] = {name: value[name] for name in GIVEN if value[name]}
    if value["budget"]:
        found["budget_limit"] = float(value["budget"])
    return found | {name: value[name] == "true" for name in ("autostart", "use_sim_time")
                    if value[name] not in ("", "auto")}


def ros_arguments(value: Mapping[str, str], defaults: Mapping[str, str]) -> list[str]:
    """Return the log level and the default parameters as arguments. launch appends parameter files, which override."""
    parameters = [word for name, text in defaults.items() for word in ("-p", f"{name}:={text}")]
    return ["--ros-args", "--log-level", value["log_level"], *parameters]


def viewers(context: LaunchContext, value: Mapping[str, str], own: str,
            sim_time: object) -> list[LaunchDescriptionEntity]:
    """Return RViz and foxglove_bridge, if requested and installed."""
    rviz = Node(
        package="rviz2", executable="rviz2", name="rviz2", namespace=value["namespace"],
        arguments=["-d", str(share_directory() / "config" / "gdtm.rviz")], parameters=[{"use_sim_time": sim_time}],
        remappings=[("/ground_truth/pose", "ground_truth/pose"),
                    *((f"/admn/{topic}", f"{own}/{topic}") for topic in SHOWN)])
    bridge = Node(
        package="foxglove_bridge", executable="foxglove_bridge", name="foxglove_bridge", namespace=value["namespace"],
        parameters=[{"port": int(value["foxglove_port"]), "address": "127.0.0.1", "use_sim_time": sim_time}])
    actions: list[LaunchDescriptionEntity] = []
    for asked, package, node in (("rviz", "rviz2", rviz), ("foxglove", "foxglove_bridge", bridge)):
        if value[asked] != "true":
            continue
        try:
            FindPackageShare(package).perform(context)
            actions.append(node)
        except LookupError:  # no such package
            actions.append(LogInfo(msg=f"{asked}:=true: the package {package} is not installed "
                                       f"(apt install ros-jazzy-{package.replace('_', '-')}); starting without it"))
    return actions


def when_ended(node: Node, value: Mapping[str, str], survives_kill: bool = False) -> RegisterEventHandler:
    """End the launch with an error when a node ends by itself, or start the node again with use_respawn.

    Args:
        node: action of the node.
        value: values of the launch arguments.
        survives_kill: whether the launch goes on without the node after a signal or a crash.
    """
    def on_exit(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if context.is_shutdown:
            return []
        text = f"{event.process_name} ended by itself with exit code {event.returncode}"
        if value["use_respawn"] == "true":
            return [LogInfo(msg=f"{text}; starting it again in {RESPAWN_DELAY_S:g} s")]
        if survives_kill and event.returncode < 0:
            return [LogInfo(msg=f"{text}; going on with the default budget")]
        raise RuntimeError(text)

    return RegisterEventHandler(OnProcessExit(target_action=node, on_exit=on_exit))


def shut_down_after(source: Node) -> RegisterEventHandler:
    """End the launch when its data source exits. A second Shutdown event, after Ctrl-C, would be an error."""
    def on_exit(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
        if context.is_shutdown:
            return []
        if event.returncode != 0:
            raise RuntimeError(f"{event.process_name} ended with exit code {event.returncode}")
        return [EmitEvent(event=Shutdown(reason="the data source ended"))]

    return RegisterEventHandler(OnProcessExit(target_action=source, on_exit=on_exit))


def generate_launch_description() -> LaunchDescription:
    """Entry point of `ros2 launch`."""
    arguments = [DeclareLaunchArgument(name, default_value=default, description=text, choices=CHOICES.get(name))
                 for name, default, text in ARGUMENTS]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])
