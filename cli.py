#!/usr/bin/env python3
"""The command line of mobilenet-apps: results as JSON on stdout, words on stderr."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
# Threads that spin for a core which reading processes hold make a step many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime would keep events in the user's cache

from apps.cli.main import main
from apps.engine.core.machine import keep_memory

keep_memory()  # before torch is imported and allocates

if __name__ == "__main__":
    sys.exit(main())
