"""Exported files for phones as they are used here: LiteRT, ExecuTorch; suppression of boxes in numpy."""
