# For NVIDIA Jetson (JetPack 6). NOT TRIED on that hardware: it states what should be needed.
#   docker build -f docker/jetson.Dockerfile -t admn_ros:jetson --build-arg BASE=IMAGE .
#   docker run --rm --runtime nvidia --net host --ipc host admn_ros:jetson
# BASE is an image for aarch64 with ROS 2 Jazzy on Ubuntu 24.04 and a PyTorch (2.3 or newer) that was built for the Jetson's
# CUDA, seen by the system's Python. The PyTorch of PyPI for aarch64 does not support the Jetson's integrated GPU, so it must not be installed over.
ARG BASE
FROM ${BASE}
SHELL ["/bin/bash", "-c"]
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /workspace
COPY package.xml src/admn_ros/package.xml
RUN apt-get update && rosdep update --rosdistro jazzy \
    && rosdep install --from-paths src --ignore-src -y --skip-keys python3-torch && rm -rf /var/lib/apt/lists/*
COPY build_support src/admn_ros/build_support
# MuJoCo renders the simulated room, which a robot does not need.
RUN python3 -m venv --system-site-packages venv \
    && grep -v -e '^torch' -e '^mujoco' src/admn_ros/build_support/requirements.txt > /tmp/requirements.txt \
    && venv/bin/pip install --no-cache-dir -r /tmp/requirements.txt
COPY . src/admn_ros
RUN source /opt/ros/jazzy/setup.bash && source venv/bin/activate && colcon build --packages-select admn_ros
COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "admn_ros", "gdtm.launch.py", "device:=cuda"]
