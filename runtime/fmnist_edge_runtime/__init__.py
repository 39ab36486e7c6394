"""The device: picture in, prediction out, with numpy, onnxruntime and pillow alone.

Applications import the public names from :mod:`fmnist_edge`; this package loads nothing until it is used.
"""

import os

# onnxruntime >= 1.29 sends telemetry unless told not to before its import. A choice made earlier stands.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
