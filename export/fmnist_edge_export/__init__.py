"""The workshop: data, models, training, export and proof. torch is used here and nowhere else.

Modules that need the ``[export]`` extra are imported where they are used, through :mod:`fmnist_edge_export.extras`,
so that data, evaluation and verification of ONNX files work without it.
"""

import fmnist_edge_runtime  # noqa: F401 - turns telemetry off before anything here imports onnxruntime
