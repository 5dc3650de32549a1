"""Measures the MLPerf Tiny int8 networks on one CPU thread: LiteRT, onnxruntime, OpenVINO, tract and Tandem.

    TANDEM_MODELS=path/to/models python benches/peers.py

The first run makes a Python environment under target/ and installs requirements.txt into it. Every
engine gets the same random inputs, batch 1. In each round every engine runs for a while and gives a
median; the figure is the smallest median of all rounds, because on a shared machine the neighbours
only ever add time. Results go to stdout as a table and to a JSON file.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
REFERENCE = "LiteRT XNNPACK"

# Name, file stem in mlperf-tiny/models (.tflite) and mlperf-tiny/onnx (.onnx), millions of MACs.
NETWORKS = (
    ("ResNet-8", "pretrainedResnet_quant", 12.502),
    ("DS-CNN", "kws_ref_model", 2.657),
    ("VWW", "vww_96_int8", 7.490),
    ("AD", "ad01_int8", 0.264),
)


def arguments():
    parser = argparse.ArgumentParser(description="Measure the MLPerf Tiny int8 networks on several engines.")
    parser.add_argument("--models", type=Path, default=os.environ.get("TANDEM_MODELS"), help="folder that holds mlperf-tiny/ (default: TANDEM_MODELS)")
    parser.add_argument("--tandem", type=Path, default=ROOT / "target" / "release" / "tandem", help="the tandem binary")
    parser.add_argument("--devices", default="cpu,fsim", help="tandem devices, comma separated; empty for none")
    parser.add_argument("--tandem-arg", action="append", default=[], help="one more argument for tandem run, such as --hw=wide; repeatable")
    parser.add_argument("--venv", type=Path, default=ROOT / "target" / "peers-venv", help="where the engines are installed")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--round-ms", type=int, default=300, help="time per engine, network and round")
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs")
    parser.add_argument("--slow-peers", action="store_true", help="also LiteRT's built-in and reference kernels")
    parser.add_argument("--json", type=Path, default=ROOT / "target" / "peers.json", help="where the result is written")
    chosen = parser.parse_args()
    if chosen.models is None:
        parser.error("give --models or set TANDEM_MODELS to the folder that holds mlperf-tiny/")
    if not (Path(chosen.models) / "mlperf-tiny" / "models").is_dir():
        parser.error(f"{chosen.models} has no mlperf-tiny/models")
    if chosen.rounds < 1 or chosen.round_ms < 1:
        parser.error("--rounds and --round-ms must be at least 1")
    return chosen


def ensure_environment(venv):
    """Continues in the environment that has the engines, making it first when it is absent or stale."""
    # The link of an environment's python leads back to the system's, so only prefixes tell them apart.
    if Path(sys.prefix).resolve() == venv.resolve():
        return
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = (HERE / "requirements.txt").read_text()
    stamp = venv / "installed-requirements.txt"
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"installing the engines into {os.path.relpath(venv)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    sys.exit(subprocess.run([python, *sys.argv]).returncode)


class LiteRt:
    """LiteRT in this process; `resolver` names one of its sets of kernels."""

    def __init__(self, model, resolver, inputs):
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kinds = {
            "xnnpack": OpResolverType.AUTO,
            "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            "reference": OpResolverType.BUILTIN_REF,
        }
        self.interpreter = Interpreter(str(model), num_threads=1, experimental_op_resolver_type=kinds[resolver])
        self.interpreter.allocate_tensors()
        detail = self.interpreter.get_input_details()[0]
        self.interpreter.set_tensor(detail["index"], inputs[0].reshape(detail["shape"]))

    def round(self, seconds):
        return median_us(self.interpreter.invoke, seconds)


class OnnxRuntime:
    """onnxruntime's CPU provider in this process, one thread, all graph optimisations."""

    def __init__(self, model, inputs):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        taken = self.session.get_inputs()[0]
        kinds = {"tensor(int8)": "int8", "tensor(float)": "float32"}
        shape = [d if isinstance(d, int) else 1 for d in taken.shape]
        self.feed = {taken.name: inputs[0].reshape(shape).astype(kinds[taken.type])}

    def round(self, seconds):
        return median_us(lambda: self.session.run(None, self.feed), seconds)


class OpenVino:
    """OpenVINO's CPU device in this process, one stream of one thread, for latency. It reads the TFLite file; the batch becomes 1."""

    def __init__(self, model, inputs):
        import openvino

        core = openvino.Core()
        network = core.read_model(str(model))
        network.reshape([d.get_length() if d.is_static else 1 for d in network.inputs[0].get_partial_shape()])
        options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        self.request = core.compile_model(network, "CPU", options).create_infer_request()
        taken = self.request.get_input_tensor(0)
        taken.data[:] = inputs[0].reshape(taken.shape).astype(taken.element_type.to_dtype())

    def round(self, seconds):
        return median_us(self.request.infer, seconds)


class Tract:
    """tract in this process, which runs on one thread; the batch becomes 1."""

    def __init__(self, model, inputs):
        import tract

        network = tract.onnx().load(str(model))
        extents = str(network.input_fact(0)).split(",")
        network.set_input_fact(0, ",".join(["1", *extents[1:]]))
        self.state = network.into_model().into_runnable().spawn_state()
        kinds = {"i8": "int8", "f32": "float32"}
        shape = [1, *map(int, extents[1:-1])]
        self.feed = [tract.Tensor.from_numpy(inputs[0].reshape(shape).astype(kinds[extents[-1]]))]

    def round(self, seconds):
        return median_us(lambda: self.state.run(self.feed), seconds)


class Tandem:
    """The tandem binary: one process a round, several samples a process."""

    def __init__(self, binary, device, model, inputs, folder, more):
        path = Path(folder) / f"{model.stem}.{device}.bin"
        path.write_bytes(b"".join(sample.tobytes() for sample in inputs))
        self.command = [str(binary), "run", str(model), "--input", str(path), "--device", device, "--format", "json", *more]

    def round(self, _seconds):
        done = subprocess.run(self.command, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}")
        latency = json.loads(done.stdout)["latency_ms"]
        return 1000 * (statistics.median(latency) if isinstance(latency, list) else float(latency))


def median_us(call, seconds):
    """The median duration of one call, over at least five and as many as fit."""
    call()
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


def random_inputs(model, count, seed):
    """Random codes in the shape and type of the model's input."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    detail = Interpreter(str(model)).get_input_details()[0]
    limits = np.iinfo(detail["dtype"])
    random = np.random.default_rng(seed)
    return [random.integers(limits.min, limits.max, detail["shape"], detail["dtype"], endpoint=True) for _ in range(count)]


def engines(chosen, stem, folder, notes):
    """The engines for one network by name, in the order of the table's rows."""
    tflite = chosen.models / "mlperf-tiny" / "models" / f"{stem}.tflite"
    onnx = chosen.models / "mlperf-tiny" / "onnx" / f"{stem}.onnx"
    inputs = random_inputs(tflite, 64, chosen.seed)
    makers = {REFERENCE: lambda: LiteRt(tflite, "xnnpack", inputs)}
    if chosen.slow_peers:
        makers["LiteRT built-in"] = lambda: LiteRt(tflite, "builtin", inputs)
        makers["LiteRT reference"] = lambda: LiteRt(tflite, "reference", inputs)
    makers["onnxruntime QDQ"] = lambda: OnnxRuntime(onnx, inputs)
    makers["OpenVINO"] = lambda: OpenVino(tflite, inputs)
    makers["tract QDQ"] = lambda: Tract(onnx, inputs)
    if chosen.tandem.is_file():
        for device in filter(None, chosen.devices.split(",")):
            # A simulated sample takes milliseconds, so fewer of them fill a round.
            samples = inputs if device == "cpu" else inputs[:4]
            makers[f"tandem {device}"] = lambda device=device, samples=samples: Tandem(
                chosen.tandem, device, tflite, samples, folder, chosen.tandem_arg
            )
    made = {}
    for name, make in makers.items():
        try:
            made[name] = make()
        except Exception as error:  # One engine that cannot load a file must not hide the others.
            notes.append(f"{name}, {stem}: {first_line(error)}")
    return made


def first_line(error):
    """An engine's message may run over many lines and carry colour codes; the first says enough."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def measure(chosen, notes):
    """Best median in microseconds by network and engine, with every round's median beside it."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for network, stem, _ in NETWORKS:
            running = engines(chosen, stem, folder, notes)
            rounds = {name: [] for name in running}
            for _ in range(chosen.rounds):
                for name in list(running):
                    try:
                        rounds[name].append(running[name].round(chosen.round_ms / 1000))
                    except Exception as error:
                        notes.append(f"{name}, {stem}: {first_line(error)}")
                        del running[name]
            results[network] = {
                name: {"best_us": min(medians), "round_medians_us": medians} for name, medians in rounds.items() if medians
            }
            print(f"{network} done", file=sys.stderr)
    return results


def table(results):
    """One row an engine: microseconds, and how many times the reference's time that is."""
    rows = [["engine"] + [f"{name} ({macs:g} MMAC)" for name, _, macs in NETWORKS]]
    names = list(dict.fromkeys(name for network in results.values() for name in network))
    for name in names:
        row = [name]
        for network, _, _ in NETWORKS:
            figure = results[network].get(name)
            base = results[network].get(REFERENCE)
            if figure is None:
                row.append("-")
            elif base is None:
                row.append(f"{figure['best_us']:.1f}")
            else:
                row.append(f"{figure['best_us']:.1f} ({figure['best_us'] / base['best_us']:.2f}x)")
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows)


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {"model": platform.processor()}
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    interesting = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "asimd", "asimddp", "i8mm")
    flags = set(fields.get("flags", fields.get("Features", "")).split())
    return {"model": fields.get("model name", platform.machine()), "features": [f for f in interesting if f in flags]}


def git(*words):
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine():
    return {
        **processor(),
        "logical_cpus": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def versions(tandem):
    from importlib.metadata import version

    found = {package: version(package) for package in ("ai-edge-litert", "onnxruntime", "openvino", "tract", "numpy")}
    found["python"] = platform.python_version()
    if tandem.is_file():
        done = subprocess.run([str(tandem), "--version"], capture_output=True, text=True)
        found["tandem"] = done.stdout.strip() or None
    return found


def main():
    chosen = arguments()
    ensure_environment(chosen.venv)
    chosen.models = Path(chosen.models)
    notes = []
    if not chosen.tandem.is_file():
        notes.append("tandem was not measured: no binary (build it with cargo build --release -p tandem-cli, or give --tandem)")
    before = machine()
    results = measure(chosen, notes)
    print("Best median, microseconds an inference, one thread, batch 1 (in brackets: times " + REFERENCE + ")")
    print(table(results))
    for note in dict.fromkeys(notes):
        print(f"note: {note}")
    report = {
        "benchmark": "peers",
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": before,
        "versions": versions(chosen.tandem),
        "revision": git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain", "--untracked-files=no")),
        "seed": chosen.seed,
        "rounds": chosen.rounds,
        "round_ms": chosen.round_ms,
        "tandem_arguments": chosen.tandem_arg,
        "unit": "microseconds",
        "results": results,
        "notes": list(dict.fromkeys(notes)),
    }
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if results and all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
