#!/usr/bin/env python3
"""The command line of mobilenet-apps: results as JSON on stdout, words on stderr."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from apps.commands import main

if __name__ == "__main__":
    sys.exit(main())
