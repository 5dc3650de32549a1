"""Trains, quantises and checks the network that `tandem demo` runs.

    python train.py            train and rewrite every file of this folder's data
    python train.py --check    run the committed files through LiteRT and compare; nothing is written

The data are the 1,797 handwritten digits bundled with scikit-learn: 8x8 pixels, 17 levels. The network
is small but passes through every path of the accelerator: a convolution, a depthwise convolution, a
pointwise convolution, a residual addition, both poolings and a dense layer. It is trained in float
with backpropagation written out in numpy and quantised after training as TFLite does it: int8 weights
symmetric per output channel (per tensor for the dense layer), int8 activations with a zero point from
the range seen on the training images, int32 biases.
"""

import os

# One BLAS thread fixes the order of the sums, so two runs on one machine give the same bytes.
for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[variable] = "1"

import argparse
import csv
import sys
from pathlib import Path

import numpy as np
from flatbuffers import Builder
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

sys.path.insert(0, str(Path(__file__).resolve().parent))
from tflite_writer import ModelWriter, options, run, schema

HERE = Path(__file__).resolve().parent
SEED = 20
TEST_IMAGES = 360
EPOCHS = 80
BATCH = 32
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-4
REQUIRED_ACCURACY = 0.97
SAMPLE_PICTURES = (0, 1, 2)
KERNELS = ("tflref", "xnnpack")

# The float network, in execution order: name, kind, weight shape (TFLite order, output channel first;
# depthwise has its channels last), fused ReLU.
LAYERS = (
    ("stem", "conv", (16, 3, 3, 1), True),
    ("depthwise", "depthwise", (1, 3, 3, 16), True),
    ("pointwise", "conv", (16, 1, 1, 16), False),
    ("wide", "conv", (32, 3, 3, 16), True),
    ("scores", "dense", (10, 128), False),
)


def load_split():
    """Pixels as bytes (0..255) and labels, split with every digit in the same proportion."""
    digits = load_digits()
    pixels = np.floor(digits.images * 255 / 16 + 0.5).astype(np.uint8)
    index = np.arange(len(pixels))
    train, test = train_test_split(index, test_size=TEST_IMAGES, random_state=SEED, stratify=digits.target)
    test = np.sort(test)
    return pixels[train], digits.target[train], pixels[test], digits.target[test], test


def to_real(pixels):
    return (pixels.astype(np.float32) / np.float32(255))[..., None]


def shifted(images, random):
    """Moves every image by up to one pixel each way; the border of a digit is black."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    moved = np.empty_like(images)
    for slot, (dy, dx) in enumerate(random.integers(0, 3, (len(images), 2))):
        moved[slot] = padded[slot, dy : dy + 8, dx : dx + 8]
    return moved


def patches(x, size):
    """Every size x size neighbourhood with zero padding: N, H, W, size, size, C."""
    edge = size // 2
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    return np.ascontiguousarray(windows.transpose(0, 1, 2, 4, 5, 3))


def scatter(grad, size):
    """The adjoint of `patches`."""
    n, h, w, _, _, c = grad.shape
    edge = size // 2
    padded = np.zeros((n, h + 2 * edge, w + 2 * edge, c), grad.dtype)
    for dy in range(size):
        for dx in range(size):
            padded[:, dy : dy + h, dx : dx + w] += grad[:, :, :, dy, dx]
    return padded[:, edge : edge + h, edge : edge + w]


def initial_weights(random):
    weights = {}
    for name, kind, shape, _ in LAYERS:
        fan_in = np.prod(shape[1:3]) if kind == "depthwise" else np.prod(shape[1:])
        weights[name + ".w"] = (random.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32)
        outputs = shape[3] if kind == "depthwise" else shape[0]
        weights[name + ".b"] = np.zeros(outputs, np.float32)
    return weights


def conv_forward(x, w, b):
    columns = patches(x, w.shape[1])
    flat = columns.reshape(-1, int(np.prod(w.shape[1:])))
    return (flat @ w.reshape(w.shape[0], -1).T + b).reshape(*x.shape[:3], w.shape[0]), flat


def conv_backward(grad, flat, w):
    rows = grad.reshape(-1, w.shape[0])
    columns = (rows @ w.reshape(w.shape[0], -1)).reshape(*grad.shape[:3], *w.shape[1:])
    return scatter(columns, w.shape[1]), (rows.T @ flat).reshape(w.shape), rows.sum(0)


def depthwise_forward(x, w, b):
    columns = patches(x, w.shape[1])
    return (columns * w[0]).sum(axis=(3, 4)) + b, columns


def depthwise_backward(grad, columns, w):
    spread = grad[:, :, :, None, None, :]
    return scatter(spread * w[0], w.shape[1]), (spread * columns).sum(axis=(0, 1, 2))[None], grad.sum(axis=(0, 1, 2))


def blocks(x):
    """Every 2x2 block as one axis of four."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h // 2, w // 2, 4, c)


def unblocks(x):
    n, h, w, _, c = x.shape
    return x.reshape(n, h, w, 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, h * 2, w * 2, c)


def forward(p, x):
    """Every activation by name (after its fused ReLU), and what the backward pass needs."""
    a, kept = {"input": x}, {}
    stem, kept["stem"] = conv_forward(x, p["stem.w"], p["stem.b"])
    a["stem"] = np.maximum(stem, 0)
    depthwise, kept["depthwise"] = depthwise_forward(a["stem"], p["depthwise.w"], p["depthwise.b"])
    a["depthwise"] = np.maximum(depthwise, 0)
    a["pointwise"], kept["pointwise"] = conv_forward(a["depthwise"], p["pointwise.w"], p["pointwise.b"])
    a["residual"] = np.maximum(a["stem"] + a["pointwise"], 0)
    a["max_pool"] = blocks(a["residual"]).max(axis=3)
    wide, kept["wide"] = conv_forward(a["max_pool"], p["wide.w"], p["wide.b"])
    a["wide"] = np.maximum(wide, 0)
    a["average_pool"] = blocks(a["wide"]).mean(axis=3)
    a["flat"] = a["average_pool"].reshape(len(x), -1)
    a["scores"] = a["flat"] @ p["scores.w"].T + p["scores.b"]
    return a, kept


def backward(p, a, kept, labels):
    """Gradients of the mean cross entropy."""
    n = len(labels)
    exp = np.exp(a["scores"] - a["scores"].max(axis=1, keepdims=True))
    grad = exp / exp.sum(axis=1, keepdims=True)
    grad[np.arange(n), labels] -= 1
    grad /= n
    g = {"scores.w": grad.T @ a["flat"], "scores.b": grad.sum(0)}
    grad = (grad @ p["scores.w"]).reshape(a["average_pool"].shape)
    grad = unblocks(np.repeat(grad[:, :, :, None] / 4, 4, axis=3)) * (a["wide"] > 0)
    grad, g["wide.w"], g["wide.b"] = conv_backward(grad, kept["wide"], p["wide.w"])
    four = blocks(a["residual"])
    winner = np.arange(4)[:, None] == four.argmax(axis=3)[:, :, :, None]
    grad = unblocks(grad[:, :, :, None] * winner) * (a["residual"] > 0)
    to_stem = grad
    grad, g["pointwise.w"], g["pointwise.b"] = conv_backward(grad, kept["pointwise"], p["pointwise.w"])
    grad = grad * (a["depthwise"] > 0)
    grad, g["depthwise.w"], g["depthwise.b"] = depthwise_backward(grad, kept["depthwise"], p["depthwise.w"])
    grad = (grad + to_stem) * (a["stem"] > 0)
    _, g["stem.w"], g["stem.b"] = conv_backward(grad, kept["stem"], p["stem.w"])
    return g


def train(pixels, labels):
    """Adam with decoupled weight decay and a cosine schedule; the test images play no part."""
    random = np.random.default_rng(SEED)
    p = initial_weights(random)
    first = {k: np.zeros_like(v) for k, v in p.items()}
    second = {k: np.zeros_like(v) for k, v in p.items()}
    images = to_real(pixels)
    steps_per_epoch = len(images) // BATCH
    step = 0
    for epoch in range(EPOCHS):
        order = random.permutation(len(images))
        for start in range(0, steps_per_epoch * BATCH, BATCH):
            pick = order[start : start + BATCH]
            a, kept = forward(p, shifted(images[pick], random))
            gradients = backward(p, a, kept, labels[pick])
            step += 1
            rate = LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * step / (EPOCHS * steps_per_epoch)))
            for k, gradient in gradients.items():
                first[k] = 0.9 * first[k] + 0.1 * gradient
                second[k] = 0.999 * second[k] + 0.001 * gradient * gradient
                ahead = (first[k] / (1 - 0.9**step)) / (np.sqrt(second[k] / (1 - 0.999**step)) + 1e-8)
                decay = WEIGHT_DECAY * p[k] if k.endswith(".w") else 0
                p[k] = (p[k] - rate * (ahead + decay)).astype(np.float32)
        if epoch % 20 == 19:
            print(f"epoch {epoch + 1}: train accuracy {accuracy(forward(p, images)[0]['scores'], labels):.4f}")
    return p


def accuracy(scores, labels):
    return float((np.argmax(scores, axis=1) == labels).mean())


def rounded(x):
    """Half away from zero, the rounding of TFLite's quantiser."""
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


def activation_parameters(values):
    """Scale and zero point of an int8 activation: its range, widened to hold zero, over 255 steps."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = (high - low) / 255
    return np.float32(scale), int(np.clip(rounded(-128 - low / scale), -128, 127))


def quantised_weights(w, axis):
    """Symmetric int8 in -127..127, a scale for each index of `axis` or one for all when it is None."""
    reduced = tuple(d for d in range(w.ndim) if d != axis)
    limit = np.abs(w).max(axis=reduced, keepdims=True)
    scale = (np.where(limit > 0, limit, 1) / 127).astype(np.float32)
    return np.clip(rounded(w / scale), -127, 127).astype(np.int8), scale.reshape(-1)


def write_model(p, calibration):
    """The int8 file."""
    a, _ = forward(p, calibration)
    m = ModelWriter("Tandem digits demo")
    quant = {name: activation_parameters(value) for name, value in a.items()}
    quant["input"] = (np.float32(1 / 255), -128)
    # Poolings and reshapes copy codes, so they must keep the parameters of what they read.
    quant["max_pool"], quant["average_pool"] = quant["residual"], quant["wide"]
    quant["flat"] = quant["average_pool"]
    index = {}

    def activation(name, shape):
        scale, zero_point = quant[name]
        index[name] = m.tensor(name, shape, np.int8, scale, zero_point)
        return index[name]

    def weighted(kind, name, source, axis, version, shape, opts):
        codes, scale = quantised_weights(p[name + ".w"], axis)
        bias_scale = quant[source][0] * scale
        bias = rounded(p[name + ".b"].astype(np.float64) / bias_scale).astype(np.int32)
        inputs = [
            index[source],
            m.constant(name + "/weights", codes, scale, 0, axis),
            m.constant(name + "/bias", bias, bias_scale, 0, 0 if axis is not None else None),
        ]
        m.operator(kind, inputs, [activation(name, shape)], version, opts)

    relu, none = schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.NONE
    same, valid = schema.Padding.SAME, schema.Padding.VALID
    unit = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1, "padding": same}
    pool = {"padding": valid, "strideW": 2, "strideH": 2, "filterWidth": 2, "filterHeight": 2}
    conv_relu = options("Conv2D", fusedActivationFunction=relu, **unit)

    activation("input", [1, 8, 8, 1])
    weighted("CONV_2D", "stem", "input", 0, 3, [1, 8, 8, 16], conv_relu)
    depthwise = options("DepthwiseConv2D", fusedActivationFunction=relu, depthMultiplier=1, **unit)
    weighted("DEPTHWISE_CONV_2D", "depthwise", "stem", 3, 3, [1, 8, 8, 16], depthwise)
    conv_none = options("Conv2D", fusedActivationFunction=none, **unit)
    weighted("CONV_2D", "pointwise", "depthwise", 0, 3, [1, 8, 8, 16], conv_none)
    add = options("Add", fusedActivationFunction=relu)
    m.operator("ADD", [index["stem"], index["pointwise"]], [activation("residual", [1, 8, 8, 16])], 2, add)
    m.operator("MAX_POOL_2D", [index["residual"]], [activation("max_pool", [1, 4, 4, 16])], 2, options("Pool2D", **pool))
    weighted("CONV_2D", "wide", "max_pool", 0, 3, [1, 4, 4, 32], conv_relu)
    m.operator("AVERAGE_POOL_2D", [index["wide"]], [activation("average_pool", [1, 2, 2, 32])], 2, options("Pool2D", **pool))
    shape = m.constant("flat/shape", np.array([1, 128], np.int32))
    reshape = options("Reshape", newShape=np.array([1, 128], np.int32))
    m.operator("RESHAPE", [index["average_pool"], shape], [activation("flat", [1, 128])], 1, reshape)
    weighted("FULLY_CONNECTED", "scores", "flat", None, 4, [1, 10], options("FullyConnected"))
    # The softmax kernel of TFLite accepts exactly this output scale and zero point.
    probability = m.tensor("probability", [1, 10], np.int8, 1 / 256, -128)
    m.operator("SOFTMAX", [index["scores"]], [probability], 2, options("Softmax", beta=1.0))
    return m.finish([index["input"]], [probability])


def without_softmax(model):
    """The same file ended at the scores, for the goldens before the softmax."""
    tree = schema.ModelT.InitFromPackedBuf(model)
    last = tree.subgraphs[0].operators.pop()
    tree.subgraphs[0].outputs = last.inputs
    builder = Builder(len(model))
    builder.Finish(tree.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def outputs(model, kernels, inputs):
    return np.concatenate([o[0] for o in run(model, kernels, [[x] for x in inputs])])


def write_files(p, train_pixels, test_pixels, test_labels, test_index):
    model = write_model(p, to_real(train_pixels))
    (HERE / "digits_int8.tflite").write_bytes(model)
    inputs = (test_pixels.astype(np.int16) - 128).astype(np.int8)
    (HERE / "inputs_i8.bin").write_bytes(inputs.tobytes())
    with open(HERE / "labels.csv", "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        for index, label in zip(test_index, test_labels, strict=True):
            rows.writerow([f"digit_{index:04}.bin", 10, int(label)])
    for part, file in (("prob", model), ("logits", without_softmax(model))):
        for kernels in KERNELS:
            (HERE / f"expected_{part}_i8_{kernels}.bin").write_bytes(outputs(file, kernels, inputs).tobytes())
    (HERE / "samples").mkdir(exist_ok=True)
    for slot in SAMPLE_PICTURES:
        name = f"digit_{test_index[slot]:04}_label_{test_labels[slot]}.png"
        Image.fromarray(test_pixels[slot]).save(HERE / "samples" / name)
    scores = forward(p, to_real(test_pixels))[0]["scores"]
    print(f"float accuracy {accuracy(scores, test_labels):.4f} on {len(test_labels)} test images")


def check():
    """Runs the files of this folder and returns the failures as sentences."""
    model = (HERE / "digits_int8.tflite").read_bytes()
    inputs = np.fromfile(HERE / "inputs_i8.bin", np.int8).reshape(-1, 1, 8, 8, 1)
    with open(HERE / "labels.csv", newline="") as file:
        labels = np.array([int(row[2]) for row in csv.reader(file)])
    failures = []
    if not len(inputs) == len(labels) == TEST_IMAGES:
        failures.append(f"{len(inputs)} inputs and {len(labels)} labels, expected {TEST_IMAGES} of each")
    if len(model) > 100_000:
        failures.append(f"the model has {len(model)} bytes, more than 100,000")
    print(f"model: {len(model)} bytes")
    found = {}
    for kernels in KERNELS:
        found[kernels] = outputs(model, kernels, inputs)
        share = accuracy(found[kernels], labels)
        print(f"{kernels}: int8 accuracy {share:.4f}")
        if share < REQUIRED_ACCURACY:
            failures.append(f"{kernels}: accuracy {share:.4f} is below {REQUIRED_ACCURACY}")
        for part, now in (("prob", found[kernels]), ("logits", outputs(without_softmax(model), kernels, inputs))):
            name = f"expected_{part}_i8_{kernels}.bin"
            stored = np.fromfile(HERE / name, np.int8)
            if stored.size != now.size:
                failures.append(f"{name} has {stored.size} codes, expected {now.size}")
            elif different := int((stored != now.reshape(-1)).sum()):
                failures.append(f"{different} output codes differ from {name}")
    differing = int((found["tflref"] != found["xnnpack"]).any(axis=1).sum())
    print(f"the two kernel families differ on {differing} of {len(inputs)} images")
    return failures


def main():
    parser = argparse.ArgumentParser(description="Train, quantise and check the digits network.")
    parser.add_argument("--check", action="store_true", help="only compare the committed files with LiteRT")
    if not parser.parse_args().check:
        train_pixels, train_labels, test_pixels, test_labels, test_index = load_split()
        p = train(train_pixels, train_labels)
        write_files(p, train_pixels, test_pixels, test_labels, test_index)
    failures = check()
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
