"""The benchmark of the exchange of statistics counts one for each batch-norm and direction."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import main


@pytest.mark.slow
def test_a_step_exchanges_once_a_layer_and_direction(capsys: pytest.CaptureFixture[str]) -> None:
    size = ("--width", "0.25", "--resolution", "32", "--batch", "4", "--steps", "1", "--rounds", "1")
    assert main(["exchange", *size]) == 0
    rows = {row["mode"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert list(rows) == ["one", "apart", "gradients", "together"]
    assert rows["together"]["exchanges"] == 2 * 27
    assert 0 < rows["together"]["in_exchanges_ms"] < rows["together"]["step_ms"]
    assert rows["together"]["moments_us"] > 0
