"""From an ONNX model to a proven artefact for a vehicle's chip: quantize, compile, compare, gate, bundle."""
