# As root on Debian 12 or newer, with git, make and a Rust toolchain: `make demo`, `make test`.

export PATH := $(HOME)/.cargo/bin:$(PATH)
export BIN := $(or $(CARGO_TARGET_DIR),target)/release
CARGO ?= cargo

.PHONY: help setup build demo test test-long kill-points guest soak bench bench-micro unvalidated model fuzz fmt lint deny clean

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

setup: ## install what is missing from apt, reserve hugepages (as root)
	@smoke/setup

build: setup ## build everything, with optimizations
	@$(CARGO) build --release --workspace --locked

demo: build ## see it work: the main job on real traffic; KEEP=1 leaves it running
	@KEEP=$(KEEP) smoke/demo

test: build kill-points guest ## all tests: units, EAL, and a real primary with real stacks in namespaces
	@smoke/sweep
	@MULTISTACK_BIN=$(abspath $(BIN)) MULTISTACK_KILL_POINTS=$(KILL_POINTS)/debug/stack-probe \
	    $(CARGO) test --workspace --locked

test-long: export MULTISTACK_LONG = 1
test-long: test ## the same, with a minute of wrk, 1,000 attach cycles, 1,000 kills

# A stack that can be killed at each of its steps, out of the way of those that can't.
KILL_POINTS = $(abspath $(or $(CARGO_TARGET_DIR),target)/kill-points)
kill-points: setup
	@$(CARGO) build --locked --package stack-probe --features kill-points --target-dir $(KILL_POINTS)

# A virtual machine for the tests, of Debian's kernel, which is not installed.
guest: setup
	@tests/guest/make $(or $(CARGO_TARGET_DIR),target)/guest

soak: build ## everything at once, kills included, for SECONDS (1800): nothing is lost, nothing grows
	@smoke/sweep
	@MULTISTACK_BIN=$(abspath $(BIN)) MULTISTACK_SOAK_SECONDS=$(or $(SECONDS),1800) \
	    $(CARGO) test --locked --test e2e -- --ignored --exact soak::everything_at_once --nocapture

bench: build ## all figures, beside the peers that are installed; bench-demux64 for one
	@$(BIN)/multistack-bench

bench-%: build
	@$(BIN)/multistack-bench $*

bench bench-validate_cost: unvalidated

# What does not validate is for measuring only, and stays out of the way of what does.
unvalidated: setup
	@$(CARGO) build --release --locked --package multistack --features unvalidated \
	    --target-dir $(or $(CARGO_TARGET_DIR),target)/unvalidated

bench-micro: setup ## instructions per packet of the data path's pieces, by callgrind
	@$(CARGO) run --release --locked --package multistack-bench --bin micro

model: ## model-check the rings and doorbells with loom
	@RUSTFLAGS="--cfg loom" $(CARGO) test --locked --package multistack-ring --lib \
	    --target-dir $(or $(CARGO_TARGET_DIR),target)/loom

fuzz: setup ## fuzz what is made of frames, the worker, the control thread, both sides of rings, vhost ports; SECONDS each (60)
	@fuzz/run $(or $(SECONDS),60)

fmt: ## format the sources
	@$(CARGO) fmt --all

lint: setup ## formatting and clippy
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@$(CARGO) clippy --package multistack --package stack-probe --all-features --locked -- -D warnings

deny: ## licences, bans, sources and advisories of the dependencies
	@.ci/deny

clean: ## remove what was built, and what killed runs left behind
	@smoke/sweep
	@$(CARGO) clean
