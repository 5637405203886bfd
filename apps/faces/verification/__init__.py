"""How well vectors tell people apart: LFW's protocol, all against all, thresholds."""
