"""Videos and streams of ``detect``: frames as they come, and the video that is drawn."""
