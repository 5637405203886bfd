"""Trainings as others see them: logs, profiles, lists of runs, comparisons."""
