# SPDX-License-Identifier: Apache-2.0
# Every target that needs the virtual environment creates or updates it first.
SHELL := /bin/bash
VENV ?= .venv
RUN := $(VENV)/bin/python
# Without the virtual environment, any Python that has PyTorch with CUDA and the packages of pyproject.toml.
GPU_PYTHON ?= $(if $(wildcard $(RUN)),$(RUN),python3)
MESSAGES := $(wildcard msg/*.msg) $(wildcard scripts/*) CMakeLists.txt package.xml setup.py pyproject.toml \
  build_support/ros_build.py $(wildcard cmake/*)
# Tests without ROS run on all cores, whole files at a time, in the order of test/conftest.py.
PARALLEL := -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder
WITHOUT_ROS := --ignore test/nodes test
# Those of nodes mostly wait for messages. Each process has a DDS domain of its own.
NODES := -n 2 --dist loadfile --no-loadscope-reorder test/nodes

# A sourced ROS 2 finds the type support of our messages by bare library name.
ifneq ($(AMENT_PREFIX_PATH),)
export LD_LIBRARY_PATH := $(CURDIR)/$(VENV)/lib:$(LD_LIBRARY_PATH)
endif

.PHONY: help demo check docs test nightly gpu-check train-check lint setup clean
help:
	@echo "make demo         replay a recording into the perception node; prints a live table, writes out/demo.png"
	@echo "make check        linters, type checks, and the quick tests without ROS: for every change; minutes"
	@echo "make test         linters, type checks, all tests but the nightly ones; ARGS=... selects tests"
	@echo "make nightly      the tests that take longest, which shorter ones cover too"
	@echo "make docs         build the documentation site, out/site; warnings are errors"
	@echo "make gpu-check    on a GPU: its tests, latencies, every training stage; ARGS='--device cpu' for what runs without"
	@echo "make train-check  every training stage at small size, on a simulated dataset, in out/train-check"
	@echo "make lint         linters and type checks"
	@echo "make setup        create the virtual environment and build the messages"
	@echo "make clean        remove everything that make created"

demo: setup
	@$(RUN) -m admn_ros.nodes demo $(ARGS)

check: lint
	@$(RUN) -m pytest $(PARALLEL) -m "not slow and not nightly and not cuda" $(WITHOUT_ROS) $(ARGS)

test: lint
	@build_support/browser.sh
ifeq ($(ARGS),)
	@$(RUN) -m pytest $(PARALLEL) -m "not nightly" $(WITHOUT_ROS)
	@$(RUN) -m pytest $(NODES)
else
	@$(RUN) -m pytest $(ARGS)
endif

nightly: setup
	@$(RUN) -m pytest $(PARALLEL) -m nightly --timeout 900 $(WITHOUT_ROS) $(ARGS)

docs: setup
	@$(RUN) -m pip install --disable-pip-version-check -q -r build_support/docs.txt
	@$(RUN) build_support/docs_pages.py out/docs
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet --strict
	@echo "out/site/index.html"

gpu-check:
	@$(GPU_PYTHON) -m admn_ros.benchmark.gpu_check $(ARGS)

train-check: setup
	@rm -rf out/train-check
	@ADMN=$(VENV)/bin/admn models/train.sh out/train-check quick

lint: setup
	@$(VENV)/bin/ruff check .
	@$(RUN) -m mypy

setup: $(VENV)/.package

$(VENV)/.deps: $(addprefix build_support/,setup.sh requirements.txt python.txt constraints.txt ros-jazzy.txt)
	@build_support/setup.sh deps $(VENV)
	@touch $@

$(VENV)/.package: $(VENV)/.deps $(MESSAGES)
	@build_support/setup.sh package $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) build install log out *.egg-info
