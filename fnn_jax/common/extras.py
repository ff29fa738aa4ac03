"""Packages that the base does without: what an error says where one of them is not installed."""

PACKAGES = {  # by extra; pyproject.toml says which versions
    "analysis": "scikit-learn",
    "encoding": "scikit-learn",
    "explore": "panel",
    "export": "torch",
    "nwb": "pynwb",
    "onnx": "onnx",
    "video": "av",
}


def missing(what: str, extra: str) -> str:
    """That ``what``, the beginning of a sentence, needs the package of an extra, and how to install it."""
    package = PACKAGES[extra]
    return f"{what} needs the package {package}: pip install {package}, or the extra {extra!r} of fnn_jax"
