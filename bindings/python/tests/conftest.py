"""Data of the tests."""

import os

import numpy as np
import pytest

# Kernels aren't measured: results are the same to the last bit, and a test's shapes are of no use to other runs.
os.environ.setdefault("FRETWORK_TUNE", "off")


@pytest.fixture(scope="session")
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def table(tmp_path_factory):
    """A table of two numbers, a category, and a label of three names that they decide."""
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("data") / "table.csv"
    lines = ["width,colour,height,kind"]
    for _ in range(400):
        width, height, colour = rng.normal(5, 2), rng.normal(100, 30), rng.choice(["red", "blue"])
        kind = "ash" if colour == "red" and width > 5 else "elm" if height > 100 else "oak"
        lines.append(f"{width:.3f},{colour},{height:.2f},{kind}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def numbers(tmp_path_factory):
    """A table of numbers alone, with a number to predict: y = 100 + 20 a - 10 b."""
    rng = np.random.default_rng(4)
    path = tmp_path_factory.mktemp("data") / "numbers.csv"
    rows = rng.normal(size=(500, 2))
    y = 100 + 20 * rows[:, 0] - 10 * rows[:, 1]
    path.write_text("a,b,y\n" + "".join(f"{a:.5f},{b:.5f},{t:.4f}\n" for (a, b), t in zip(rows, y)))
    return path
