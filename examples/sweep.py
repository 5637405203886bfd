"""Looks for good settings with Optuna: python examples/sweep.py DATA OUT TRIALS [OPTION=VALUE ...]

Each trial is a run in OUT; run it again to go on. Needs: pip install optuna
"""

import ast
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
try:
    import optuna
except ImportError:
    sys.exit("error: a sweep needs a package that is not here; run: pip install optuna")
from apps.engine.core.console import Console
from apps.engine.training.finetune import finetune

if len(sys.argv) < 4 or not all("=" in word for word in sys.argv[4:]):
    sys.exit(__doc__)
data, out, fixed = Path(sys.argv[1]), Path(sys.argv[2]), dict(word.split("=", 1) for word in sys.argv[4:])
optuna.logging.set_verbosity(optuna.logging.ERROR)


def typed(value: str) -> object:
    """A number, True or False where the text is one; else the text."""
    try:
        return ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return value


def trial_value(trial: optuna.Trial) -> float:
    """Top-1 of a run with the settings that a trial proposes."""
    given = {
        "data": data, "lr": trial.suggest_float("lr", 1e-4, 3e-2, log=True),
        "smoothing": trial.suggest_float("smoothing", 0.0, 0.2),
        **{name: typed(value) for name, value in fixed.items()},
    }
    run = out / f"trial-{trial.number}"
    answer = finetune("dogs", given, out=run, console=Console(quiet=True))
    print(f"{run}: top1 {answer['metrics']['top1']:.3f} with {trial.params}", flush=True)
    return answer["metrics"]["top1"]


try:
    out.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        study_name="sweep", storage=f"sqlite:///{out}/sweep.db", direction="maximize", load_if_exists=True,
    )
    study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))  # new proposals where it goes on
    study.optimize(trial_value, n_trials=int(sys.argv[3]))
except (OSError, TypeError, ValueError) as err:  # TypeError: an option that there is not
    sys.exit(f"error: {err}")
print(f"best of {len(study.trials)}: top1 {study.best_value:.3f} with {study.best_params}")
