# SPDX-License-Identifier: Apache-2.0
"""Perception on live sensors, on a recording, or on a simulated room.

    ros2 launch admn_ros gdtm.launch.py model:=/path/to/model
    ros2 launch admn_ros gdtm.launch.py bag:=/path/to/bag rviz:=true
    ros2 launch admn_ros gdtm.launch.py sim:=true foxglove:=true
    ros2 launch admn_ros gdtm.launch.py governor:=true battery_topic:=/base/battery_state
    ros2 launch admn_ros gdtm.launch.py sensors:=rgbd model:=untrained:rgbd bag:=/path/to/rgbd_bag

Launch arguments override the values in the deployment file.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown, matches_action
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.substitutions import FindPackageShare

CONFIGURE, ACTIVATE = 1, 3  # lifecycle_msgs/Transition
SHARE = FindPackageShare("admn_ros")
SHOWN = ("pose", "odometry", "markers", "sensor_nodes", "debug_image")  # topics in config/gdtm.rviz, below /admn

ARGUMENTS = (
    ("model", "gdtm",
     "Model folder, name of a shipped model, or untrained:PRESET for random weights (meaningless estimates)."),
    ("sensors", "gdtm", "Deployment file (sensor nodes, topics, synchronization), or the name of one in config/."),
    ("budget", "-1.0", "Default budget, used while no valid budget is published; -1 uses that of the deployment file."),
    ("budget_unit", "layers", "Unit of the default budget."),
    ("governor", "false", "Start the governor, which makes the budget from temperatures, battery, power and "
     "NAME_governor/budget_request. Without it, or when it dies, the default budget is used."),
    ("governor_file", "", "YAML file with parameters of the governor; empty for config/governor.yaml."),
    ("temperature_topic", "temperature", "sensor_msgs/Temperature for the governor, which also reads /diagnostics."),
    ("battery_topic", "battery_state", "sensor_msgs/BatteryState for the governor."),
    ("watts_topic", "watts", "std_msgs/Float32 for the governor: power of the whole board, in watts."),
    ("device", "auto", "Device of the network; auto is a GPU if there is one."),
    ("bag", "", "Recording to replay; the launch ends with it. Empty for live sensors."),
    ("sim", "false", "Simulate the room for an hour; requires MuJoCo (pip install mujoco) and EGL. Ignored with bag."),
    ("seed", "7", "Seed of the simulated room."),
    ("rate", "1.0", "Speed of replay or simulation, as a multiple of real time."),
    ("parameters", "", "YAML file with parameters of the perception node; launch arguments override it."),
    ("rviz", "false", "Open RViz with the configuration config/gdtm.rviz."),
    ("foxglove", "false", "Start foxglove_bridge; the layout for the app is config/gdtm_foxglove.json."),
    ("foxglove_port", "8765", "Port of foxglove_bridge on the loopback interface."),
    ("use_sim_time", "auto", "Use the time of /clock; auto does so with bag or sim."),
    ("namespace", "", "Namespace of the nodes."),
    ("name", "admn", "Name of the perception node, and prefix of its topics."),
    ("log_level", "info", "Least severe log messages shown."),
)
CHOICES = {
    "budget_unit": ["layers", "gflops", "milliseconds", "joules", "watts"],
    "device": ["auto", "cpu", "cuda"],
    "foxglove": ["true", "false"],
    "governor": ["true", "false"],
    "rviz": ["true", "false"],
    "sim": ["true", "false"],
    "use_sim_time": ["auto", "true", "false"],
    "log_level": ["debug", "info", "warn", "error", "fatal"],
}


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Create the nodes for the values of the launch arguments."""
    value = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    clocked = value["bag"] != "" or value["sim"] == "true"
    sim_time = value["use_sim_time"] == "true" or (value["use_sim_time"] == "auto" and clocked)
    logging = ["--ros-args", "--log-level", value["log_level"]]
    perception = LifecycleNode(
        package="admn_ros", executable="perception", name=value["name"], namespace=value["namespace"],
        output="screen", arguments=logging,
        parameters=[*([value["parameters"]] if value["parameters"] else []), {
            "model": value["model"], "sensors": value["sensors"], "device": value["device"],
            "budget_limit": float(value["budget"]), "budget_unit": value["budget_unit"], "use_sim_time": sim_time,
        }])
    actions = [perception, *bring_up(perception)]
    if value["governor"] == "true":
        governor = governor_node(value, sim_time, logging)
        actions += [governor, *bring_up(governor)]
    if value["bag"]:
        replay = Node(
            package="admn_ros", executable="replay", name="replay", namespace=value["namespace"], output="screen",
            arguments=logging, parameters=[{"bag": value["bag"], "rate": float(value["rate"])}])
        actions += [replay, shut_down_after(replay)]
    elif value["sim"] == "true":
        simulator = Node(
            package="admn_ros", executable="simulator", name="simulator", namespace=value["namespace"],
            output="screen", arguments=logging,
            parameters=[{"seed": int(value["seed"]), "rate": float(value["rate"]), "seconds": 3600.0}])
        actions += [simulator, shut_down_after(simulator)]
    return [*actions, *viewers(context, value, sim_time)]


def viewers(context: LaunchContext, value: dict[str, str], sim_time: bool) -> list[LaunchDescriptionEntity]:
    """Return RViz and foxglove_bridge, if requested and installed."""
    own = "/".join(["", *filter(None, [value["namespace"].strip("/"), value["name"]])])
    rviz = Node(
        package="rviz2", executable="rviz2", name="rviz2", namespace=value["namespace"],
        arguments=["-d", PathJoinSubstitution([SHARE, "config", "gdtm.rviz"])], parameters=[{"use_sim_time": sim_time}],
        remappings=[(f"/admn/{topic}", f"{own}/{topic}") for topic in SHOWN])
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


def governor_node(value: dict[str, str], sim_time: bool, logging: list[str]) -> LifecycleNode:
    """Return the governor of the perception node. Models with random weights have no folder to read costs from."""
    file = value["governor_file"] or PathJoinSubstitution([SHARE, "config", "governor.yaml"])
    model = "" if value["model"].startswith("untrained:") else value["model"]
    return LifecycleNode(
        package="admn_ros", executable="governor", name=f"{value['name']}_governor", namespace=value["namespace"],
        output="screen", arguments=logging, parameters=[file, {"model": model, "use_sim_time": sim_time}],
        remappings=[("admn/budget", f"{value['name']}/budget"), ("temperature", value["temperature_topic"]),
                    ("battery_state", value["battery_topic"]), ("watts", value["watts_topic"])])


def shut_down_after(source: Node) -> RegisterEventHandler:
    """End the launch when its data source exits."""
    return RegisterEventHandler(OnProcessExit(
        target_action=source, on_exit=[EmitEvent(event=Shutdown(reason="the data source ended"))]))


def bring_up(node: LifecycleNode) -> list[LaunchDescriptionEntity]:
    """Configure a node when its process runs, and activate it once it is configured."""
    def change(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    return [
        RegisterEventHandler(OnStateTransition(
            target_lifecycle_node=node, start_state="configuring", goal_state="inactive", entities=[change(ACTIVATE)])),
        change(CONFIGURE),
    ]


def generate_launch_description() -> LaunchDescription:
    """Entry point of `ros2 launch`."""
    profile = EnvironmentVariable(
        "FASTRTPS_DEFAULT_PROFILES_FILE",
        default_value=PathJoinSubstitution([SHARE, "config", "fastdds_large_images.xml"]))
    arguments = [DeclareLaunchArgument(name, default_value=default, description=text, choices=CHOICES.get(name))
                 for name, default, text in ARGUMENTS]
    return LaunchDescription([
        *arguments,
        SetEnvironmentVariable("FASTRTPS_DEFAULT_PROFILES_FILE", profile),
        OpaqueFunction(function=start),
    ])
