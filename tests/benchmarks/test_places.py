"""The benchmark of places on a few positions."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import main


def test_it_tells_times_of_all_libraries_and_of_a_partition(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["places", "--points", "2000", "--rounds", "1", "--photos", "60000"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["encode_cpu_s"]) == {"ours", "s2geometry", "s2cell", "s2sphere"}
    assert found["encode_cpu_s"]["ours"] < found["encode_cpu_s"]["s2sphere"]
    assert found["cells"] > 1
    assert found["partition_cpu_s"] >= 0
