# The two commands to know: `make demo` shows rampool at work on a cluster of real kernels,
# `make test` runs every test. Both install the Debian packages that they need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test bench lab packages image programs fmt lint unit end-to-end

CARGO ?= cargo
# What the lab's nodes run.
PROGRAMS := -p rampool -p rampool-agent -p rampool-controller -p rampool-lab
TIMED := tests/timed

help:
	@echo 'make demo    pool the memory of four nodes, use it, give it back'
	@echo 'make test    every test: format, lints, unit, property, doc, end to end'
	@echo 'make bench   the pool by rampool beside the same pool by hand'
	@echo 'make lab     leave a cluster of real kernels running, and say how to enter it'

demo: packages
	@$(CARGO) build --quiet --release $(PROGRAMS) -p rampool-e2e --bins
	@$(CARGO) run --quiet --release -p rampool-lab -- image
	@exec $(CARGO) run --quiet --release -p rampool-e2e --bin rampool-demo

bench: packages
	@$(CARGO) build --quiet --release $(PROGRAMS) -p rampool-e2e --bins
	@$(CARGO) run --quiet --release -p rampool-lab -- image
	@exec $(CARGO) run --quiet --release -p rampool-e2e --bin rampool-bench -- $(BENCH)

lab: packages
	@$(CARGO) build --quiet --release $(PROGRAMS) -p rampool-e2e --bins
	@$(CARGO) run --quiet --release -p rampool-lab -- image
	@exec $(CARGO) run --quiet --release -p rampool-e2e --bin rampool-playground

test: packages fmt lint unit image end-to-end
	@echo 'test: ok'

packages:
	@$(TIMED) packages tests/install-packages

fmt:
	@$(TIMED) formatting $(CARGO) fmt --all --check

lint:
	@$(TIMED) lints $(CARGO) clippy --workspace --all-targets --all-features -- --deny warnings

unit:
	@$(TIMED) 'unit, property and doc tests' $(CARGO) test --workspace

image: programs
	@$(TIMED) 'root image of the lab' $(CARGO) run --quiet -p rampool-lab -- image

programs:
	@$(TIMED) programs $(CARGO) build $(PROGRAMS) --bins

# One lab at a time: two cores are few for several kernels.
end-to-end: programs image
	@$(TIMED) 'the lab itself' $(CARGO) test -p rampool-lab --features lab --test '*' -- --test-threads=1
	@$(TIMED) 'the agent on real kernels' $(CARGO) test -p rampool-agent --features lab --test '*' -- --test-threads=1
	@$(TIMED) 'end to end' $(CARGO) test -p rampool-e2e --features lab --test '*' -- --test-threads=1
