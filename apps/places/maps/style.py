"""Colours of maps."""

from matplotlib.colors import LinearSegmentedColormap

SEA, LAND, BORDER, EDGE = "#eef2f1", "#ffffff", "#b9c4bf", "#1d2421"
OPACITY = 0.8
EDGES = ((0.75, "likeliest 50 %"), (0.3, "50 to 90 %"), (0.05, "90 to 99 %"))  # tone, and its name
HEAT = LinearSegmentedColormap.from_list("heat", ["#fde8c8", "#f0a860", "#d1572b", "#7a1530"])
