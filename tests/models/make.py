"""Writes the small import-test models, their inputs and what other engines make of them.

    python make.py            rewrite everything in tflite/ and onnx/ and the manifest
    python make.py --check    build everything in memory and compare with the files; nothing is written

TFLite models are run by ai-edge-litert on its reference kernels ("tflref") and on its default kernels
("xnnpack"); ONNX models by onnxruntime with all graph optimisations ("ort") and with none
("ort_unfused", which is the float arithmetic that the QDQ form spells out).
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import onnx_cases
import tflite_cases
from tflite_writer import interpreter, run

SEED = 20
SIZE_LIMIT = 400_000
PACKAGES = ("ai-edge-litert", "onnx", "onnxruntime", "numpy")


def tensor_entry(name, value, file):
    return {"name": name, "dtype": value.dtype.name, "shape": list(value.shape), "file": file}


def record(files, folder, name, suffix, names, inputs, results):
    """Stores the model's data files and returns the manifest entry's inputs and outputs.

    `results` maps an engine's name to its list of outputs. Engines that agree share one file.
    """
    entry = {"inputs": [], "outputs": []}
    for index, (tensor, value) in enumerate(inputs):
        path = f"{folder}/{name}.input{index}.bin"
        files[path] = value.tobytes()
        entry["inputs"].append(tensor_entry(tensor, value, path))
    first = next(iter(results))
    for index, tensor in enumerate(names):
        expected = {engine: outputs[index] for engine, outputs in results.items()}
        reference = expected[first]
        output = {"name": tensor, "dtype": reference.dtype.name, "shape": list(reference.shape), "expected": {}}
        for engine, value in expected.items():
            assert value.shape == reference.shape and value.dtype == reference.dtype, (name, engine)
            same = value.tobytes() == reference.tobytes()
            path = f"{folder}/{name}.output{index}.{first if same else engine}.bin"
            files[path] = value.tobytes()
            output["expected"][engine] = path
            if engine != first:
                output["differing"] = int((value != reference).sum())
                output["largest_difference"] = float(np.abs(value.astype(np.float64) - reference).max())
        entry["outputs"].append(output)
    return {"name": name, "model": f"{folder}/{name}.{suffix}", **entry}


def tflite(files, name, build):
    made = tflite_cases.Case(name, SEED)
    build(made)
    model = made.writer.finish(made.inputs, made.outputs)
    files[f"tflite/{name}.tflite"] = model
    results = {kernels: run(model, kernels, [made.values])[0] for kernels in ("tflref", "xnnpack")}
    tensors = made.writer.tensors
    inputs = [(tensors[i].name, v) for i, v in zip(made.inputs, made.values, strict=True)]
    entry = record(files, "tflite", name, "tflite", [tensors[i].name for i in made.outputs], inputs, results)
    # An operator that the XNNPACK delegate leaves alone runs on LiteRT's own optimised kernel.
    left = {d["op_name"] for d in interpreter(model, "xnnpack")._get_ops_details()}
    entry["xnnpack_delegated"] = "DELEGATE" in left
    return entry


def onnx(files, name, build):
    made = onnx_cases.Case(name, SEED)
    build(made)
    model = made.finish()
    files[f"onnx/{name}.onnx"] = model
    levels = {
        "ort": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
        "ort_unfused": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    }
    results = {}
    for engine, level in levels.items():
        settings = onnxruntime.SessionOptions()
        settings.graph_optimization_level = level
        settings.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        results[engine] = session.run(None, made.values)
    return record(files, "onnx", name, "onnx", [o.name for o in made.outputs], made.values.items(), results)


def build_all():
    """Every file of the two folders by its path, and the manifest among them."""
    files = {}
    manifest = {
        "seed": SEED,
        "versions": {package: version(package) for package in PACKAGES},
        "tflite": [tflite(files, name, build) for name, build in tflite_cases.CASES.items()],
        "onnx": [onnx(files, name, build) for name, build in onnx_cases.CASES.items()],
    }
    text = json.dumps(manifest, indent=1)
    files["manifest.json"] = (text + "\n").encode()
    return files, manifest


def present():
    folders = [HERE / "tflite", HERE / "onnx"]
    return {p.relative_to(HERE).as_posix() for folder in folders if folder.is_dir() for p in folder.iterdir()}


def main():
    parser = argparse.ArgumentParser(description="Make or check the import-test models.")
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    check = parser.parse_args().check
    files, manifest = build_all()
    total = sum(map(len, files.values()))
    count = len(manifest["tflite"]), len(manifest["onnx"])
    print(f"{count[0]} TFLite and {count[1]} ONNX models, {len(files)} files, {total} bytes")
    failures = [f"{total} bytes are more than {SIZE_LIMIT}"] if total > SIZE_LIMIT else []
    if check:
        for path, data in files.items():
            if not (HERE / path).is_file() or (HERE / path).read_bytes() != data:
                failures.append(f"{path} differs from what make.py makes")
        failures += [f"{path} is not made by make.py" for path in sorted(present() - files.keys())]
    else:
        for path in present() - files.keys():
            (HERE / path).unlink()
        for path, data in files.items():
            (HERE / path).parent.mkdir(exist_ok=True)
            (HERE / path).write_bytes(data)
        for entry in manifest["tflite"] + manifest["onnx"]:
            differing = [o["differing"] for o in entry["outputs"]]
            if any(differing):
                print(f"  {entry['name']}: the two engines differ in {differing} values")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
