# SPDX-License-Identifier: Apache-2.0
"""Parameters of the perception node."""

from __future__ import annotations

from admn_ros.config import BUDGET_UNITS
from admn_ros.inference.runtime import ENGINES, PRECISIONS
from admn_ros.inference.target import NO_TARGET_ABOVE
from admn_ros.nodes.parameters import AUTOSTART, DIAGNOSTICS_PERIOD, Spec

PARAMETERS = (
    Spec("model", "", "Model folder, name of a shipped model, or untrained:PRESET for random weights."),
    Spec("sensors", "gdtm", "Deployment file (sensor nodes, topics, synchronization), or the name of one in config/."),
    Spec("device", "auto", "Device of the network; auto is a GPU if there is one.", choices=("auto", "cpu", "cuda")),
    Spec("threads", 0, "CPU threads of the network; 0 is half the cores, at most four.", low=0, high=256),
    Spec("engine", "torch", "What computes the network; onnxruntime needs a model folder of `admn export`.",
         choices=ENGINES),
    Spec("providers", "", "Execution providers of ONNX Runtime in order of preference, separated by commas; empty is "
         "CUDAExecutionProvider on a GPU, else the CPU."),
    Spec("precision", "float32", "Precision of the layers of the backbones, in torch: all on a GPU, bfloat16 on "
         "processors that have it; float16 with TensorRT.", choices=PRECISIONS),
    AUTOSTART,
    Spec("budget_limit", -1.0, "Default budget, used while no valid budget is published on ~/budget; -1 uses the "
         "default of the deployment file.", live=True, low=-1.0, high=1e9),
    Spec("budget_unit", "layers", "Unit of budget_limit.", live=True, choices=BUDGET_UNITS),
    Spec("objective_position", -1.0, "Weight of the position when compute is allocated by predicted value; -1 uses the "
         "objective of the deployment file.", live=True, low=-1.0, high=1e6),
    Spec("objective_classification", -1.0, "Weight of the class; -1 uses that of the deployment file.", live=True,
         low=-1.0, high=1e6),
    Spec("frame_rate_hz", 15.0, "Frame rate that budgets in watts are divided by, in Hz; the measured rate is used "
         "where it is higher.", live=True, low=0.1, high=1000.0),
    Spec("lazy", False, "Run the network only while a result topic has a subscriber.", live=True),
    Spec("max_rate_hz", 0.0, "Highest mean rate of frames that the network takes, in Hz; further frames are skipped. A "
         "budget is one per frame, so that this bounds what is spent per second. 0 is no limit.", live=True, low=0.0,
         high=1000.0),
    Spec("poll_period_s", 0.01, "With use_sim_time: longest time between two looks at /clock while an input is live, "
         "in seconds. Without it the node sleeps until the next message or the next frame that is due.", live=True,
         low=0.001, high=0.5),
    Spec("no_target_above", NO_TARGET_ABOVE, "Probability of the class none above which a frame shows no target: no "
         "pose, no detection, no marker, no update of the track.", live=True, low=0.01, high=1.0),
    Spec("tracking", True, "Publish ~/odometry: a Kalman filter over the estimates."),
    Spec("tracking_acceleration", 2.0, "Spectral density of the target's acceleration, in m^2/s^3.", low=1e-4,
         high=1e4),
    Spec("tracking_spread", 2.0, "Inflation of the measurement standard deviations, to account for correlated errors "
         "between frames.", low=0.1, high=100.0),
    Spec("tracking_gate", 0.99, "Probability of the validation gate; estimates outside it are not used.",
         low=0.5, high=0.999999),
    Spec("tracking_timeout_s", 1.0, "Time without an estimate after which the track ends, in seconds.", low=0.05,
         high=60.0),
    Spec("output_frame", "", "Name of the model's frame on this robot: frame_id of all outputs, and reference of the "
         "poses of sensor nodes from TF. Positions are not transformed. Empty uses the name in the model file."),
    Spec("target_frame", "target", "Frame of the target: child_frame_id of ~/odometry and of the transform."),
    Spec("publish_tf", False, "Publish the transform from output_frame to target_frame on /tf while there is a "
         "target."),
    Spec("debug_image_rate_hz", 5.0, "Highest rate of ~/debug_image, in Hz. It is drawn only while it is subscribed "
         "to.", live=True, low=0.1, high=60.0),
    Spec("no_frames_error_s", 3.0, "Time without an estimate after which the status of inference is an error that "
         "states the reason, in seconds of real time.", live=True, low=0.1, high=3600.0),
    DIAGNOSTICS_PERIOD,
)
