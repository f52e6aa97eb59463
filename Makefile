# Everything that a developer runs. Each target sets the machine up as far as it needs; a second time that takes no time.
#
#   DISTRO   ROS distribution (default: the sourced one, else kilted)
#   ROBOTS, SECONDS, ENGINE   for demo and bench
#   PEERS=0  bench installs and measures no other programs

SHELL := /bin/bash
DISTRO ?= $(or $(OMNI_DISTRO),$(ROS_DISTRO),kilted)
export OMNI_DISTRO := $(DISTRO)
# Not `export SECONDS`: bash counts in a variable of that name.
ROBOTS ?=
SECONDS ?=
ENGINE ?=
PEERS ?=
ACTIVATE := source tools/env.sh
OPTIONS = $(if $(ROBOTS),--robots $(ROBOTS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(ENGINE),--engine $(ENGINE))
BENCH_OPTIONS = $(OPTIONS) $(if $(filter 0,$(PEERS)),--no-peers) $(ARGS)
unexport SECONDS

.DEFAULT_GOAL := help
.PHONY: help setup build demo test lint bench bench-discovery bench-nucleus clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 24
	@echo "  e.g. make demo ROBOTS=5 SECONDS=30; make test ARGS='-k wire'; make build DISTRO=jazzy"

setup: ## system packages and python environment (.work/)
	@tools/setup_env.sh $(DISTRO)

build: setup ## native engine (.work/native); messages and nodes with colcon (.work/<distro>/install)
	@tools/build.sh $(DISTRO)

demo: build ## robots in network namespaces, a talker heard across the overlay
	@$(ACTIVATE) && exec python tools/demo.py $(OPTIONS) $(ARGS)

test: ## every test, on Kilted, and those of ROS also on Jazzy
	@$(if $(filter command line,$(origin DISTRO)),OMNI_TEST_DISTROS=$(DISTRO)) python3 tools/run_tests.py $(ARGS)

lint: setup ## ruff and mypy
	@$(ACTIVATE) && ruff check . && mypy

bench: build ## overlay, raw veth and other programs (PEERS=0: without them): round trip, frames, goodput, CPU
	@$(ACTIVATE) && tools/setup_peers.sh $(BENCH_OPTIONS) && exec python bench/run.py $(BENCH_OPTIONS)

bench-discovery: build ## ROS 2 discovery on a raw link, and on the overlay without and with its cache (15 minutes)
	@$(ACTIVATE) && exec python -m bench.discovery $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

bench-nucleus: build ## a Nucleus: saturation, bytes per heartbeat cycle, 10,000 edges, failover (15 minutes)
	@$(ACTIVATE) && exec python -m bench.nucleus $(ARGS)

clean: ## removes what build and tests made; environments stay (rm -rf .work removes them too)
	@rm -rf .work/native .work/native-asan .work/*/build .work/*/install .work/*/src .work/*/log .work/*/build.stamp .work/log \
	  build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis bench/results
	@find . -path ./.work -prune -o -name __pycache__ -type d -print0 | xargs -0 -r rm -rf
