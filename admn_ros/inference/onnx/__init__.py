# SPDX-License-Identifier: Apache-2.0
"""Export of models to ONNX, and ONNX Runtime as the runtime of an engine."""
