//! TFLite and ONNX files to a Graph.
