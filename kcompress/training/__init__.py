"""Training of the preprocessors that ship. Needs the extra ``kcompress[train]`` (ONNX export)."""
