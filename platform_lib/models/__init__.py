"""Driving models: one interface, three planners (camera, ego-only, constant velocity), and their ONNX export."""
