"""The widths that ``register_timm_models`` adds to timm, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from support import ROOT

from backbone import MobileNetV1, load_state, load_weights, register_timm_models
from backbone.timm_backbone import TimmBackbone

register_timm_models()
WIDTHS = {"mobilenetv1_025": 0.25, "mobilenetv1_050": 0.5, "mobilenetv1_075": 0.75}


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True, cwd=ROOT,
        check=False, timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_timm_gets_the_names_when_it_is_asked_for_and_not_before() -> None:
    """In a process of its own: here they may be registered already."""
    names = "sorted(n for n in timm.list_models('mobilenetv1*') if n[-3:] in ('025', '050', '075'))"
    before, new, after, again = python(
        f"import timm, backbone; print({names})\n"
        "print(sorted(backbone.register_timm_models()))\n"
        f"print({names}); print(backbone.register_timm_models())"
    ).splitlines()
    assert (before, again) == ("[]", "()")
    assert new == after == str(sorted(WIDTHS))


def test_timms_own_names_stay_timms() -> None:
    """timm warns of an overwritten name, and its pretrained weights would be gone from the registry."""
    register_timm_models()
    assert register_timm_models() == ()
    entrypoint = timm.model_entrypoint("mobilenetv1_100")
    assert entrypoint.__module__ == "timm.models.efficientnet"
    assert "mobilenetv1_100.ra4_e3600_r224_in1k" in timm.list_pretrained("mobilenetv1*")


@pytest.mark.parametrize("name", WIDTHS)
def test_a_registered_network_has_our_names_shapes_and_outputs(name: str) -> None:
    torch.manual_seed(0)
    for pad_type, padding in ((None, "same"), ("same", "same"), ("symmetric", "symmetric")):
        theirs = timm.create_model(name, num_classes=7, pad_type=pad_type).eval()
        ours = MobileNetV1(WIDTHS[name], padding=padding).eval()  # type: ignore[arg-type]
        state = theirs.state_dict()
        assert state.pop("classifier.weight").shape[0] == state.pop("classifier.bias").shape[0] == 7
        ours.load_state_dict(state)
        images = torch.rand(1, 3, 96, 64)
        with torch.no_grad():
            features = theirs.forward_features((images - 0.5) / 0.5)
            torch.testing.assert_close(features, ours(images)[32], rtol=0, atol=1e-4)


def test_a_registered_network_gives_feature_maps_and_says_how_it_wants_its_input() -> None:
    backbone = TimmBackbone("mobilenetv1_050")
    assert backbone.channels == {2: 32, 4: 64, 8: 128, 16: 256, 32: 512}
    assert backbone.preprocessing.mean == (0.5, 0.5, 0.5)
    cfg = timm.create_model("mobilenetv1_025").pretrained_cfg
    assert (cfg["architecture"], cfg["classifier"], cfg["num_classes"]) == (
        "mobilenetv1_025", "classifier", 1000
    )


def test_the_official_weights_load_through_timm_and_give_our_features(weights_025: Path) -> None:
    theirs = timm.create_model(
        "mobilenetv1_025", pretrained=True, pretrained_cfg_overlay={"file": str(weights_025)}
    ).eval()
    ours, weights = MobileNetV1(0.25, padding="same").eval(), load_weights(weights_025)
    load_state(ours, weights)
    images = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        logits = theirs((images - 0.5) / 0.5)
        features = ours(images)[32].mean(dim=(2, 3))
    expected = torch.nn.functional.linear(
        features, weights.classifier["weight"], weights.classifier["bias"]
    )
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-3)
