"""Four heads in one pass beside four models: it runs, and the one pass is the cheaper."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import main


@pytest.mark.slow
@pytest.mark.long
def test_one_pass_of_four_heads_is_cheaper_than_four_models(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["heads", "--width", "0.25", "--resolution", "64", "--batch", "8", "--rounds", "3"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["four_over_one"][0] < told["separate_over_one"][0]
    assert told["separate_over_one"][0] > 2


def test_a_number_of_rounds_below_one_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["heads", "--rounds", "0"]) == 1
    assert "--rounds must be 1 or more, got 0" in capsys.readouterr().err
