"""A twin as an ONNX model, for onnxruntime on CPUs and in browsers: ``Twin.export_onnx``.

The graph is written by hand from the formulas of the stages, a file each. It is plainer than what JAX lowers: no
convolution over three axes, and only the operators of ``graph.OPERATORS``.
"""

from fnn_jax.program.onnx.exporting import export_onnx
from fnn_jax.program.onnx.reading import about, initial_state

__all__ = ["about", "export_onnx", "initial_state"]
