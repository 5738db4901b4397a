"""The notebook, and the lines of the README that say what a user gets."""

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="SKIPPED: no PyTorch")

ROOT = Path(__file__).resolve().parents[1]


def test_the_notebook_runs():
    cells = json.loads((ROOT / "examples/notebook.ipynb").read_text())["cells"]
    names = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, "outputs are not kept"
            exec(compile("".join(cell["source"]), "notebook", "exec"), names)
    assert names["run"].test_accuracy > 0.9 and names["digit"] == 1
    assert names["losses"][-1] < names["losses"][0]
    assert 0 < names["places"].mean() < 0.5
