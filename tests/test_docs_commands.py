"""Every command in README.md and docs/ is one that the programs take, option by option."""

from __future__ import annotations

import pytest
from documented_commands import Documented, all_options, documented, named_options, read

COMMANDS = documented()
# Of torchrun, Slurm and pip, not of ours.
OTHERS = {  # of torchrun, and of tests/processors.py
    "--max-restarts", "--signal", "--nproc-per-node", "--nnodes", "--standalone", "--nproc_per_node",
    "--list", "--rm", "--sync",  # of docker and jupytext
}


def test_the_pages_name_many_commands() -> None:
    assert len(COMMANDS) > 100
    assert {one.line for one in COMMANDS if one.whole} >= {
        "make demo", "python cli.py weights list",
        "python -m benchmarks export --weights mobilenetv1_1.0_224 --data imagewoof",
    }


@pytest.mark.parametrize("command", COMMANDS, ids=lambda one: f"{one.page}: {one.line[:60]}")
def test_a_documented_command_is_understood(command: Documented) -> None:
    assert read(command) in ("make", "torchrun", "benchmarks", "cli")


def test_every_option_that_a_sentence_names_exists() -> None:
    known = all_options() | OTHERS
    assert [(page, flag) for page, flag in named_options() if flag not in known] == []


@pytest.mark.parametrize(("line", "says"), [
    ("python cli.py predict a.jpg --checkpoin RUN", "no option --checkpoin"),
    ("python cli.py cells build --t-max 5 --t-min 1 --out F", "Missing argument"),
    ("python cli.py cells build x.csv --t-max five --t-min 1 --out F", "not a valid float"),
    ("python cli.py forecast x", "no command 'forecast'"), ("make cake", "no such target"),
    ("python cli.py evaluate imagenet --weights mobilenetv1_1.0_225 --data D", "no weights are registered"),
    ("python cli.py weights show mobilenetv1_9", "no weights are registered"),
    ("python -m benchmarks attributes", "required: --data"), ("python -m benchmarks races", "no benchmark"),
    ("python -m benchmarks heads --round 5 --lapse 3", "unrecognized arguments: --lapse"),
    ("evaluate imagenet --wheels mobilenetv1_1.0_224", "no option --wheels"),
    ("torchrun --nproc-per-node=2 cli.py finetune dogs --dat photos", "no option --dat"),
])
def test_a_wrong_command_would_be_noticed(line: str, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        read(Documented("page", line, line.startswith(("python", "make", "torchrun"))))
