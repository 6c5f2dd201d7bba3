# The two commands to know: `make demo` shows rampool at work on a cluster of real kernels,
# `make test` runs every test. Both install the Debian packages that they need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-slurm test test-slurm test-own bench chaos fuzz lab release packages image deny \
	programs fmt lint unit end-to-end

CARGO ?= cargo
# Which random orders and which sample of the fault matrix `make test` tries. What lands must not
# depend on chance: other seeds are for `make fuzz`, `make chaos`, and whoever sets this.
SEED ?= 2016
# Minutes.
FUZZ ?= 10
TARGET := $(or $(CARGO_TARGET_DIR),target)
TIMED := tests/timed

help:
	@echo 'make demo    pool the memory of four nodes, use it, give it back'
	@echo 'make demo-slurm  a Slurm job finds its scratch, uses it, and the memory is given back'
	@echo 'make test    every test: format, lints, unit, property, doc, end to end'
	@echo 'make test-slurm  all that is tried with real Slurm jobs; make test has the core of it'
	@echo 'make bench   the pool by rampool beside the same pool by hand'
	@echo 'make chaos   hit every part of a pool at every moment of its life; hours'
	@echo 'make fuzz    odd input by libFuzzer, and property tests with new seeds: FUZZ minutes'
	@echo 'make deny    licences, known holes and sources of what rampool is made of'
	@echo 'make lab     leave a cluster of real kernels running, and say how to enter it'

# Everything is built for the whole workspace at once: with fewer packages cargo would choose
# other features of their dependencies, and build those again.
demo: release
	@exec $(TARGET)/release/rampool-demo

demo-slurm: release
	@exec $(TARGET)/release/rampool-demo-slurm

bench: release
	@exec $(TARGET)/release/rampool-bench $(BENCH)

# CHAOS='--seed N --only CELL --resume FILE --budget MINUTES': see --help.
chaos: image
	@exec $(TARGET)/debug/rampool-chaos $(CHAOS)

lab: release
	@exec $(TARGET)/release/rampool-playground

release: packages
	@$(TIMED) 'programs, optimised' $(CARGO) build --quiet --release --workspace --bins
	@$(TIMED) 'root image of the lab' $(TARGET)/release/rampool-lab image

test: packages fmt lint unit image end-to-end
	@echo 'test: ok'

# What takes minutes is ignored by `make test`.
test-slurm: image
	@$(TIMED) 'real Slurm jobs, all' $(CARGO) test --workspace --features lab --test slurm -- --include-ignored --nocapture --test-threads=1

# Jobs whose nodes lend and use at once, at their limit, for minutes; `make test` has ten seconds.
test-own: image
	@$(TIMED) 'own mode at its limit' $(CARGO) test -p rampool-agent --features lab --test lab own:: -- --ignored --nocapture

packages:
	@$(TIMED) packages tests/install-packages

fmt:
	@$(TIMED) formatting $(CARGO) fmt --all --check

# Without the fuzz targets' own feature, which takes a C++ compiler.
lint:
	@$(TIMED) lints $(CARGO) clippy --quiet --workspace --all-targets --features lab -- --deny warnings

unit:
	@PROPTEST_RNG_SEED=$(SEED) $(TIMED) 'unit, property and doc tests' $(CARGO) test --workspace

# libFuzzer for half of the time. Then property tests, which stop at the first seed that fails; that
# one again: make unit SEED=N.
fuzz:
	@tests/fuzz/run $$(( 30 * $(FUZZ) ))
	@end=$$(( $$(date +%s) + 30 * $(FUZZ) )); rounds=0; \
	while [ "$$(date +%s)" -lt "$$end" ]; do \
	    seed=$$SRANDOM; echo "SEED=$$seed"; rounds=$$((rounds + 1)); \
	    PROPTEST_RNG_SEED=$$seed $(CARGO) test --quiet --workspace --lib; \
	done; \
	echo "fuzz: ok, $$rounds seeds"

# Asks for the list of known holes over the network.
deny:
	@command -v cargo-deny >/dev/null || $(CARGO) install --quiet --locked cargo-deny
	@$(CARGO) deny --locked check

programs: packages
	@$(TIMED) programs $(CARGO) build --quiet --workspace --bins

image: programs
	@$(TIMED) 'root image of the lab' $(TARGET)/debug/rampool-lab image

# Two labs at a time: much of a fault's time is waiting.
end-to-end: image
	@RAMPOOL_CHAOS_SEED=$(SEED) PROPTEST_RNG_SEED=$(SEED) $(TIMED) 'end to end, all suites' $(CARGO) test --workspace --features lab --test '*' -- --test-threads=2
