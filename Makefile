# Two commands matter: `make demo` and `make test`. Both set up what is missing.

CARGO ?= cargo
FRETWORK := target/release/fretwork

.PHONY: demo test test-long test-coop test-burn test-python lint bench gpu-kit wheel setup setup-test

# Trains a block-sparse network on handwritten digits.
demo: setup
	$(FRETWORK) train --data digits --sparsity 0.9

# Lints, and all tests on the best adapter. RUST_LIB_BACKTRACE=0 keeps debug builds of wgpu from taking a backtrace at each lock where
# RUST_BACKTRACE is set, a third of the time of tests with many dispatches; panics still print theirs.
test: setup-test lint
	CARGO_TERM_COLOR=never RUST_LIB_BACKTRACE=0 $(CARGO) test --workspace

# The tests that `make test` leaves out because they take longer: each names its time beside `#[ignore]`.
test-long: setup-test
	CARGO_TERM_COLOR=never RUST_LIB_BACKTRACE=0 $(CARGO) test --workspace -- --ignored

# Checks of cooperative matrices on the newest software Vulkan, which is set up in a folder of its own, as root.
test-coop: setup-test
	scripts/with-mesa sid target/debug/fretwork doctor --all --only coop

# The Python package's wheel, in target/wheels.
wheel:
	scripts/python wheel

# Builds the wheel, and tests it in fresh virtual environments, with scikit-learn and with PyTorch.
test-python:
	scripts/python test

# Sparse layers within Burn: a crate outside the workspace, whose first build takes 20 minutes on two cores.
test-burn: setup-test
	scripts/test-burn

# Formatting, clippy with and without features, and documentation.
lint: setup-test
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path bindings/burn/Cargo.toml --check
	$(CARGO) fmt --manifest-path bindings/python/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy --package fretwork --lib --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

# All benches in one run, on the best adapter.
bench: setup
	$(FRETWORK) bench all

# A folder, target/gpu-kit, that measures a machine with a GPU and without Rust: copy it there, then `./run OUT`.
gpu-kit:
	scripts/gpu-kit

# Builds the program, and installs software Vulkan only where the program finds no adapter.
setup:
	scripts/setup

# Like setup, with debug builds of program and tests.
setup-test:
	scripts/setup test
