//! Bugs in products with weights of four bits and in the producers of their activations.

use super::{Bug, Subject, differs, kernel};
use crate::device::Device;
use crate::lowbit::{PRODUCER, PRODUCT};
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "product of codes", source: &PRODUCT, exercise: product, bugs: PRODUCT_BUGS },
        Subject { name: "producer of codes", source: &PRODUCER, exercise: produce, bugs: PRODUCER_BUGS },
    ]
}

/// Groups of whole chunks but for the last one, channels that do not fill a block, and outliers.
fn product(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let dims = [("m", 5), ("n", 21), ("k", 352), ("group", 128), ("outliers", 32)];
    differs(&*kernel(device, "gemm.w4a8")?, "random", &dims, seed)
}

/// A normed row with groups and outliers.
fn produce(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let dims = [("m", 2), ("k", 700), ("group", 64), ("outliers", 44)];
    differs(&*kernel(device, "rms_norm_quantize.bf16")?, "random", &dims, seed)
}

const PRODUCT_BUGS: &[Bug] = &[
    Bug {
        name: "no barrier before sums of warps are added",
        wrong: "a warp adds what slower ones have yet to write",
        edits: &[("    __syncthreads();\n    for (int at = threadIdx.x;", "    for (int at = threadIdx.x;")],
    },
    Bug {
        name: "channels beyond the last",
        wrong: "weights are read that are not there",
        edits: &[("min_of(first_channel + place + 8, n - 1)", "(first_channel + place + 8)")],
    },
    Bug {
        name: "channels behind a group",
        wrong: "the vectors of the last chunk are of outliers, or of the next row",
        edits: &[("const bool inside = channel < end;", "const bool inside = true;")],
    },
    Bug {
        name: "outliers of every warp",
        wrong: "their products are added once for each warp",
        edits: &[("outliers > 0 && warp == WARPS - 1", "outliers > 0")],
    },
];

const PRODUCER_BUGS: &[Bug] = &[
    Bug {
        name: "no barrier before gathering",
        wrong: "elements are gathered that other threads have yet to make",
        edits: &[("        __syncthreads();\n    }\n    auto value", "    }\n    auto value")],
    },
    Bug {
        name: "no barrier between halves",
        wrong: "a sum is added that its thread has yet to store",
        edits: &[("        __syncthreads();\n        if (threadIdx.x < width)", "        if (threadIdx.x < width)")],
    },
    Bug {
        name: "no barrier behind the sum of squares",
        wrong: "the sum is read before the last two are added",
        edits: &[("    __syncthreads();\n    return __fdiv_rn(sums[0]", "    return __fdiv_rn(sums[0]")],
    },
    Bug {
        name: "no barrier behind the largest of warps",
        wrong: "the largest of a slower warp is not there yet",
        edits: &[(
            "    __syncthreads();\n#pragma unroll\n    for (int i = 0; i < THREADS / 32",
            "#pragma unroll\n    for (int i = 0; i < THREADS / 32",
        )],
    },
];
