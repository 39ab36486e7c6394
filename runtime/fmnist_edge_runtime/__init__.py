"""The device: picture in, prediction out, with numpy, onnxruntime and pillow alone.

Applications import the public names from :mod:`fmnist_edge`; this package loads nothing until it is used.
"""
