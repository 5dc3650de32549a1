//! Bugs in kernels that treat every row by itself.

use super::{Bug, Subject, differs, kernel};
use crate::device::Device;
use crate::rows::{NORM, ROPE, SOFTMAX};
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "softmax", source: &SOFTMAX, exercise: softmax, bugs: SOFTMAX_BUGS },
        Subject { name: "softmax of short rows", source: &SOFTMAX, exercise: short, bugs: SHORT_BUGS },
        Subject { name: "row_norm", source: &NORM, exercise: norm, bugs: NORM_BUGS },
        Subject { name: "rope", source: &ROPE, exercise: rope, bugs: ROPE_BUGS },
    ]
}

/// Rows of a block each.
fn softmax(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    differs(&*kernel(device, "softmax.f32")?, "random", &[("m", 2), ("n", 1500)], seed)
}

/// Rows of a warp each, whose last vector is not whole.
fn short(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    differs(&*kernel(device, "softmax.bf16")?, "random", &[("m", 6), ("n", 201)], seed)
}

fn norm(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    differs(&*kernel(device, "layer_norm.bf16")?, "random", &[("m", 2), ("n", 3000)], seed)
}

fn rope(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    differs(&*kernel(device, "rope.bf16")?, "random", &[("m", 3), ("heads", 3), ("d", 128), ("rotary", 128)], seed)
}

const SOFTMAX_BUGS: &[Bug] = &[Bug {
    name: "one place for both reductions",
    wrong: "a warp writes its sum where a slower one still reads maxima",
    edits: &[("row_sum(sum, sums));\n#pragma unroll", "row_sum(sum, tops));\n#pragma unroll")],
}];

const SHORT_BUGS: &[Bug] = &[Bug {
    name: "elements beyond the row count",
    wrong: "the rest of a vector is not part of the row",
    edits: &[(
        "sum += first + j * step + i < n ? exponential(v[j][i] - top) : 0.0f;",
        "sum += exponential((first + j * step + i < n ? v[j][i] : top) - top);",
    )],
}];

const NORM_BUGS: &[Bug] = &[
    Bug {
        name: "one place for both reductions",
        wrong: "a warp writes its squares where a slower one still reads sums",
        edits: &[(
            "row_sum(sum, deviations) / n + eps);\n#pragma unroll",
            "row_sum(sum, means) / n + eps);\n#pragma unroll",
        )],
    },
    Bug {
        name: "the mean is taken off beyond the row",
        wrong: "the squares of what is no element count",
        edits: &[("v[i] -= at + i < n ? mean : 0.0f;", "v[i] -= mean + 1.0f;")],
    },
];

const ROPE_BUGS: &[Bug] = &[Bug {
    name: "no barrier behind the angles",
    wrong: "sines that other threads store are read before they are there",
    edits: &[("    __syncthreads();\n    const size_t token", "    const size_t token")],
}];
