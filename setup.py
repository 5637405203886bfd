"""Packaging: only backbone and heads go into the wheel; apps, datasets and cli.py run from the checkout."""

from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
LIBRARY = ["torch>=2.6", "torchvision>=0.21", "timm>=1.0.15,<2", "safetensors>=0.5", "numpy>=1.26"]
APPS = [
    "click>=8.1", "facenet-pytorch==2.5.3",  # 2.6.0 forbids the torch, numpy and pillow of today
    "matplotlib>=3.9", "pillow>=11", "pyarrow>=17", "rich>=13.7", "scikit-learn>=1.5", "scipy>=1.13",
    "threadpoolctl>=3.5",
]
IMPORT = ["tflite>=2.18", "flatbuffers>=24", "h5py>=3.11"]
PARITY = ["ai-edge-litert>=2.0"]
BENCHMARKS = ["faiss-cpu>=1.9"]
DEV = [
    *IMPORT, *PARITY, "build>=1.2", "hypothesis>=6.100", "mypy>=1.15", "pytest>=8.3",
    "pytest-timeout>=2.3", "ruff>=0.11", "setuptools>=77",
]

setup(
    name="mobilenet-apps",
    version="0.1.0",
    description="One MobileNetV1 backbone, many heads: the applications of the MobileNet paper",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=["backbone", "heads"],
    package_data={"backbone": ["py.typed"], "heads": ["py.typed"]},
    install_requires=LIBRARY,
    extras_require={
        "apps": APPS, "import": IMPORT, "parity": PARITY, "benchmarks": BENCHMARKS, "dev": [*APPS, *DEV],
    },
)
