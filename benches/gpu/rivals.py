"""Measures torch and FlashInfer on the shapes that `tandem bench gpu` measures, by the same rules.

    python3 rivals.py --versions
    python3 rivals.py --cases cases.json --seed 1

A case is {"case": 3, "kernel": "gemm.bf16", "workload": "square_8192", "dims": {"m": 8192, ..}, "lengths": null, "rows": null,
"bytes": 402653184}.
One line of JSON goes to stdout for each library on each case, and one with "done" when a case is over, so that what was measured
is kept whatever happens next. Random operands, which take turns with others so that together they are larger than four times the
second-level cache; a CUDA graph of at least 20 launches, timed by events; the median of 30. It needs nothing but torch; FlashInfer
is measured where it can be imported.
"""

import argparse
import json
import platform
import statistics
import sys

# What the caller takes as "the device is in disorder; go on with the rest in another process".
AGAIN = 75
LAUNCHES, GRAPHS, WARM_UP_MS = 20, 30, 100
CACHES, SETS = 4, 512


def imported(name):
    """The module of that name, or the reason why there is none."""
    try:
        return __import__(name), None
    except Exception as error:  # An installation can be broken in any way.
        return None, f"{name} cannot be imported: {first_line(error)}"


def first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def versions(torch, why, flashinfer, why_not):
    found = {"python": platform.python_version(), "torch": None, "cuda": None, "cudnn": None, "flashinfer": None}
    if torch is None:
        return {**found, "not_measured": why}
    found.update(torch=torch.__version__, cuda=torch.version.cuda)
    try:
        found["cudnn"] = torch.backends.cudnn.version()
        if not torch.cuda.is_available():
            return {**found, "not_measured": "torch sees no GPU"}
        found["device"] = torch.cuda.get_device_name(0)
    except Exception as error:
        return {**found, "not_measured": first_line(error)}
    if flashinfer is None:
        return {**found, "flashinfer_not_measured": why_not}
    return {**found, "flashinfer": getattr(flashinfer, "__version__", "unknown")}


class Timer:
    """Times calls that `make(set)` gives, one for each set of operands."""

    def __init__(self, torch, short):
        self.torch = torch
        self.l2 = getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 60 << 20)
        self.launches, self.graphs, self.warm_up_ms = (2, 3, 0) if short else (LAUNCHES, GRAPHS, WARM_UP_MS)
        self.most = 2 if short else SETS

    def __call__(self, make, moved):
        torch = self.torch
        sets = min(self.most, CACHES * self.l2 // max(1, moved) + 1)
        calls = [make(at) for at in range(sets)]
        launches = -(-self.launches // sets) * sets
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for call in calls[:3]:
                for _ in range(3):
                    call()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            kept = [calls[at % sets]() for at in range(launches)]
        del kept
        times, warm = [], 0.0
        while len(times) < self.graphs:
            begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            elapsed = begin.elapsed_time(end)
            if warm < self.warm_up_ms:
                warm += max(elapsed, 0.01)
            else:
                times.append(elapsed * 1e3 / launches)
        return {
            "median_us": statistics.median(times),
            "best_us": min(times),
            "runs": len(times),
            "launches": launches,
            "rotated_bytes": sets * moved,
        }


class Case:
    """The libraries for one case. Each method below is the family of kernels of that name."""

    def __init__(self, torch, flashinfer, case):
        self.torch, self.flashinfer = torch, flashinfer
        self.dims, self.kernel = case["dims"], case["kernel"]
        # Of attention: positions and rows of queries of each request; a request that is decoded has one row.
        self.lengths = case["lengths"] or []
        self.rows = case["rows"] or [1] * len(self.lengths)

    def rivals(self):
        """Pairs of a library's name and what makes its call."""
        family = self.kernel.rsplit(".", 1)[0].replace(".", "_")
        method = getattr(self, family, None)
        return method() if method else []

    def normal(self, *shape, dtype=None):
        return self.torch.randn(*shape, device="cuda", dtype=self.torch.float32).to(dtype or self.dtype())

    def codes(self, *shape):
        return self.torch.randint(-128, 128, shape, device="cuda", dtype=self.torch.int8)

    def dtype(self):
        torch = self.torch
        return {"f32": torch.float32, "f16": torch.float16}.get(self.kernel.rsplit(".", 1)[-1], torch.bfloat16)

    def gemm(self):
        torch, (m, n, k) = self.torch, (self.dims[axis] for axis in "mnk")
        if self.kernel.endswith("i8"):
            def product(_):
                a, b = self.codes(m, k), self.codes(n, k).t()
                return lambda: torch._int_mm(a, b)
            return [("torch._int_mm (to int32)", product)]
        torch.backends.cuda.matmul.allow_tf32 = False

        def product(_):
            a, b = self.normal(m, k), self.normal(n, k).t()
            return lambda: torch.matmul(a, b)
        return [("torch.matmul", product)]

    def attention_ragged(self):
        return self.sdpa() + self.prefill(paged=False)

    def attention_prefill(self):
        return self.sdpa() + self.prefill(paged=True)

    def attention_decode(self):
        return self.sdpa() + self.decode()

    def plain(self):
        """Whether the case is attention without anything that libraries have no equal of."""
        return self.dims.get("logits", "plain") in ("plain", "none") and self.dims.get("mask", "none") in ("none", "causal")

    def sdpa(self):
        torch, dims, causal = self.torch, self.dims, self.dims.get("mask") == "causal"
        # Batches of equal requests alone, and masks that begin in the same corner.
        if not self.plain() or len(set(self.lengths)) != 1 or len(set(self.rows)) != 1:
            return []
        rows = self.rows[0]
        if causal and rows != self.lengths[0]:
            return []
        from torch.nn.attention import SDPBackend, sdpa_kernel

        b, kv, hq, hkv, d = len(self.lengths), self.lengths[0], dims["hq"], dims["hkv"], dims["d"]

        def of(backend):
            def make(_):
                q, k, v = self.normal(b, hq, rows, d), self.normal(b, hkv, kv, d), self.normal(b, hkv, kv, d)

                def call():
                    with sdpa_kernel(backend):
                        return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=hq != hkv)
                return call
            return make
        return [("SDPA, flash", of(SDPBackend.FLASH_ATTENTION)), ("SDPA, cuDNN", of(SDPBackend.CUDNN_ATTENTION))]

    def offsets(self, lengths):
        torch = self.torch
        return torch.tensor([0] + lengths, dtype=torch.int32).cumsum(0, dtype=torch.int32).cuda()

    def table(self, page):
        """A page table of all requests whose pages lie in any order."""
        torch = self.torch
        pages = [-(-length // page) for length in self.lengths]
        last = torch.tensor([(length - 1) % page + 1 for length in self.lengths], dtype=torch.int32).cuda()
        return self.offsets(pages), torch.randperm(sum(pages), dtype=torch.int32).cuda(), last, sum(pages)

    def workspace(self):
        """Room for a plan, which every set of operands has for itself."""
        return self.torch.empty(256 << 20, dtype=self.torch.uint8, device="cuda")

    def decode(self):
        dims = self.dims
        if self.flashinfer is None or not self.plain() or min(self.lengths, default=0) == 0:
            return []
        hq, hkv, d, page = dims["hq"], dims["hkv"], dims["d"], dims["page"]

        def of(tensor_cores):
            def make(_):
                indptr, indices, last, pages = self.table(page)
                q, cache = self.normal(len(self.lengths), hq, d), self.normal(pages, 2, page, hkv, d)
                wrapper = self.flashinfer.BatchDecodeWithPagedKVCacheWrapper(self.workspace(), "NHD", use_tensor_cores=tensor_cores)
                wrapper.plan(indptr, indices, last, hq, hkv, d, page, q_data_type=q.dtype, kv_data_type=q.dtype)
                return lambda: wrapper.run(q, cache)
            return make
        return [("FlashInfer decode", of(False)), ("FlashInfer decode, tensor cores", of(True))]

    def prefill(self, paged):
        dims = self.dims
        if self.flashinfer is None or not self.plain() or min(self.lengths + self.rows, default=0) == 0:
            return []
        hq, hkv, d, causal = dims["hq"], dims["hkv"], dims["d"], dims.get("mask") == "causal"

        def make(_):
            q, qo = self.normal(sum(self.rows), hq, d), self.offsets(self.rows)
            if paged:
                indptr, indices, last, pages = self.table(dims["page"])
                cache = self.normal(pages, 2, dims["page"], hkv, d)
                wrapper = self.flashinfer.BatchPrefillWithPagedKVCacheWrapper(self.workspace(), "NHD")
                wrapper.plan(qo, indptr, indices, last, hq, hkv, d, dims["page"], causal=causal, q_data_type=q.dtype, kv_data_type=q.dtype)
                return lambda: wrapper.run(q, cache)
            k, v = self.normal(sum(self.lengths), hkv, d), self.normal(sum(self.lengths), hkv, d)
            wrapper = self.flashinfer.BatchPrefillWithRaggedKVCacheWrapper(self.workspace(), "NHD")
            wrapper.plan(qo, self.offsets(self.lengths), hq, hkv, d, causal=causal, q_data_type=q.dtype, kv_data_type=q.dtype)
            return lambda: wrapper.run(q, k, v)
        return [(f"FlashInfer prefill, {'paged' if paged else 'ragged'}", make)]

    def rows_of(self, call):
        def make(_):
            x = self.normal(self.dims["m"], self.dims["n"])
            return call(x)
        return make

    def softmax(self):
        functional = self.torch.nn.functional
        call = functional.log_softmax if self.dims.get("log") == "yes" else functional.softmax
        return [("torch softmax", self.rows_of(lambda x: lambda: call(x, -1)))]

    def rms_norm(self):
        functional, n = self.torch.nn.functional, self.dims["n"]
        weight = self.normal(n)
        found = [("torch rms_norm", self.rows_of(lambda x: lambda: functional.rms_norm(x, (n,), weight, 1e-6)))]
        if self.flashinfer is not None:
            found.append(("FlashInfer rmsnorm", self.rows_of(lambda x: lambda: self.flashinfer.rmsnorm(x, weight, 1e-6))))
        return found

    def add_rms_norm(self):
        if self.flashinfer is None:
            return []
        weight = self.normal(self.dims["n"])

        def call(x):
            residual = self.torch.randn_like(x)
            return lambda: self.flashinfer.fused_add_rmsnorm(x, residual, weight, 1e-6)
        return [("FlashInfer fused_add_rmsnorm", self.rows_of(call))]

    def layer_norm(self):
        functional, n = self.torch.nn.functional, self.dims["n"]
        weight, bias = self.normal(n), self.normal(n)
        return [("torch layer_norm", self.rows_of(lambda x: lambda: functional.layer_norm(x, (n,), weight, bias, 1e-6)))]

    def activation(self):
        torch, functional = self.torch, self.torch.nn.functional
        kinds = {
            "relu": functional.relu,
            "relu6": functional.relu6,
            "silu": functional.silu,
            "gelu": functional.gelu,
            "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
            "sigmoid": torch.sigmoid,
            "tanh": torch.tanh,
            "hard_swish": functional.hardswish,
        }
        call = kinds.get(self.dims["kind"])

        def make(_):
            x = self.normal(self.dims["len"])
            return lambda: call(x)
        return [(f"torch {self.dims['kind']}", make)] if call else []

    def silu_mul(self):
        if self.flashinfer is None:
            return []

        def make(_):
            x = self.normal(self.dims["m"], 2 * self.dims["n"])
            return lambda: self.flashinfer.silu_and_mul(x)
        return [("FlashInfer silu_and_mul", make)]

    def image(self):
        """Images as libraries want them: channels last, binary16, since torch has no convolution of codes on a GPU."""
        torch, dims = self.torch, self.dims
        shape = dims["n"], dims["c"], dims["h"], dims["w"]
        image = self.normal(*shape, dtype=torch.float16).to(memory_format=torch.channels_last)
        left, right, top, bottom = (dims[f"pad_{side}"] for side in ("left", "right", "top", "bottom"))
        if (left, top) != (right, bottom):
            image = torch.nn.functional.pad(image, (left, right, top, bottom)).contiguous(memory_format=torch.channels_last)
            left = top = 0
        return image, (top, left)

    def convolution(self, outputs, groups):
        torch, dims = self.torch, self.dims
        window = {"stride": (dims["stride_h"], dims["stride_w"]), "dilation": (dims["dilation_h"], dims["dilation_w"])}

        def make(_):
            x, padding = self.image()
            w = self.normal(outputs, dims["c"] // groups, dims["kh"], dims["kw"], dtype=torch.float16)
            w = w.to(memory_format=torch.channels_last)
            return lambda: torch.nn.functional.conv2d(x, w, None, padding=padding, groups=groups, **window)
        return make

    def conv2d(self):
        return [("torch conv2d (f16)", self.convolution(self.dims["o"], 1))]

    def depthwise(self):
        channels = self.dims["c"]
        return [("torch conv2d by channels (f16)", self.convolution(channels * self.dims["multiplier"], channels))]

    def pool(self, call):
        dims = self.dims
        window, stride = (dims["kh"], dims["kw"]), (dims["stride_h"], dims["stride_w"])

        def make(_):
            x, padding = self.image()
            return lambda: call(x, window, stride, padding)
        return make

    def max_pool(self):
        return [("torch max_pool2d (f16)", self.pool(self.torch.nn.functional.max_pool2d))]

    def average_pool(self):
        return [("torch avg_pool2d (f16)", self.pool(self.torch.nn.functional.avg_pool2d))]


def say(row):
    print(json.dumps(row), flush=True)


def measure(torch, flashinfer, cases, seed, short):
    """Whether the device is still in order behind all cases."""
    timer = Timer(torch, short)
    for case in cases:
        torch.manual_seed(seed)
        head = {"case": case["case"], "kernel": case["kernel"], "workload": case["workload"]}
        errors = []
        try:
            of = Case(torch, flashinfer, case)
            rivals = of.rivals()
        except Exception as error:
            rivals = []
            errors.append(first_line(error))
            say({**head, "rival": "its preparation", "error": errors[-1]})
        for name, make in rivals:
            try:
                say({**head, "rival": name, **timer(make, case["bytes"] or 0), "error": None})
            except Exception as error:  # A library that cannot do a shape must not hide the others.
                errors.append(first_line(error))
                say({**head, "rival": name, "error": errors[-1]})
            torch.cuda.empty_cache()
        say({**head, "done": True})
        if any("CUDA error" in error or "AcceleratorError" in error for error in errors):
            return False
    return True


def main():
    parser = argparse.ArgumentParser(description="Measure torch and FlashInfer on given shapes.")
    parser.add_argument("--versions", action="store_true", help="print what there is and end")
    parser.add_argument("--cases", help="file with a JSON list of cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true", help="few runs, to see that it works")
    chosen = parser.parse_args()
    (torch, why), (flashinfer, why_not) = imported("torch"), imported("flashinfer")
    found = versions(torch, why, flashinfer, why_not)
    if chosen.versions or "not_measured" in found:
        say(found)
        return 0 if chosen.versions else 1
    with open(chosen.cases, encoding="utf-8") as file:
        cases = json.load(file)
    return 0 if measure(torch, flashinfer, cases, chosen.seed, chosen.short) else AGAIN


if __name__ == "__main__":
    sys.exit(main())
