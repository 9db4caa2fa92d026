# SPDX-License-Identifier: Apache-2.0
# Two commands: `make demo` and `make test`. Both do their own set-up, once.
SHELL := /bin/bash
VENV ?= .venv
RUN := $(VENV)/bin/python
MESSAGES := $(wildcard msg/*.msg) $(wildcard scripts/*) CMakeLists.txt package.xml setup.py pyproject.toml \
  build_support/ros_build.py $(wildcard cmake/*)

# A sourced ROS 2 finds the type support of our messages by bare library name.
ifneq ($(AMENT_PREFIX_PATH),)
export LD_LIBRARY_PATH := $(CURDIR)/$(VENV)/lib:$(LD_LIBRARY_PATH)
endif

.PHONY: help demo test lint setup clean
help:
	@echo "make demo    replay a recording into the perception node; prints a live table, writes out/demo.png"
	@echo "make test    linters, type checks, all tests"
	@echo "make lint    linters and type checks alone"
	@echo "make clean   remove everything that make made"

demo: setup
	@$(RUN) -m admn_ros.nodes.apps.demo $(ARGS)

test: lint
	@build_support/browser.sh
	@$(RUN) -m pytest $(ARGS)

lint: setup
	@$(VENV)/bin/ruff check .
	@$(RUN) -m mypy

setup: $(VENV)/.package

$(VENV)/.deps: build_support/setup.sh build_support/python.txt build_support/constraints.txt build_support/ros-jazzy.txt
	@build_support/setup.sh deps $(VENV)
	@touch $@

$(VENV)/.package: $(VENV)/.deps $(MESSAGES)
	@build_support/setup.sh package $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) build install log out *.egg-info
