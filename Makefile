# Two commands matter: `make demo` and `make test`. Both set up what is missing.

CARGO ?= cargo
FRETWORK := target/release/fretwork

.PHONY: demo test test-coop lint bench setup setup-test

# Trains a block-sparse network on handwritten digits.
demo: setup
	$(FRETWORK) train --data digits --sparsity 0.9

# Everything CI runs: lints, and all tests on the best adapter there is. Where RUST_BACKTRACE is on, that of a panic is enough: in a
# debug build wgpu would take one at each lock, a third of the time of tests that dispatch much.
test: setup-test lint
	CARGO_TERM_COLOR=never RUST_LIB_BACKTRACE=0 $(CARGO) test --workspace

# Cooperative matrices on the newest software Vulkan, which this machine need not have: set up in a folder of its own, as root.
test-coop: setup-test
	scripts/with-mesa sid target/debug/fretwork doctor --all --only coop

lint: setup-test
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

# Ratios from one run, on the best adapter there is.
bench: setup
	$(FRETWORK) bench all

# Builds the program, and installs software Vulkan only where the program finds no adapter.
setup:
	scripts/setup

# The same without an optimised program, which no test needs.
setup-test:
	scripts/setup test
