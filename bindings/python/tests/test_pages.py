"""The Python on the pages: every block runs, in order, in one of the environments."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

#: What a block needs, by the text that says so.
NEEDS = {"torch": "fw.torch", "sklearn": "fw.SparseMLP"}


def has(package):
    """Whether the package is there, in a version that is new enough."""
    try:
        importlib.import_module(f"fretwork.{package}")
    except ImportError:
        return False
    return True


@pytest.mark.parametrize("page", ["README.md", "bindings/python/README.md"])
def test_blocks_run(page, table, tmp_path, monkeypatch):
    (tmp_path / "table.csv").write_text(table.read_text())
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```py\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    names, run = {}, 0
    exec("import fretwork as fw", names)
    for block in blocks:
        missing = [package for package, text in NEEDS.items() if text in block and not has(package)]
        if missing:
            print(f"SKIPPED: {missing} are not here, which the other environment has")
            continue
        exec(compile(block, page, "exec"), names)
        run += 1
    assert run
