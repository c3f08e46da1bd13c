"""How each op is written as ONNX nodes: a file for each family."""
