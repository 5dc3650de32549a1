//! Bugs in kernels that draw tokens.

use super::{Bug, Subject, differs, kernel};
use crate::device::Device;
use crate::sampling::{SAMPLE, VERIFY};
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "sample", source: &SAMPLE, exercise: filtered, bugs: SAMPLE_BUGS },
        Subject { name: "sample of ties", source: &SAMPLE, exercise: ties, bugs: TIES_BUGS },
        Subject { name: "verify", source: &VERIFY, exercise: verify, bugs: VERIFY_BUGS },
    ]
}

/// Rows of two blocks each, the second of which has less.
fn filtered(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    differs(&*kernel(device, "sample.f32")?, "top_p", &[("m", 2), ("n", 3001)], seed)
}

/// Rows of equal logits, among which top-p ends.
fn ties(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    differs(&*kernel(device, "sample.f32")?, "flat", &[("m", 2), ("n", 2500)], seed)
}

/// Drafts whose tokens are looked at by two warps of each of two blocks.
fn verify(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    differs(&*kernel(device, "speculative_verify.f32")?, "random", &[("m", 1), ("draft", 40), ("n", 2100)], seed)
}

const SAMPLE_BUGS: &[Bug] = &[
    Bug {
        name: "no barrier before counting",
        wrong: "a bin is set to zero when others have counted in it",
        edits: &[(
            "shared.high[own] = 0;\n    __syncthreads();\n    for (int epoch",
            "shared.high[own] = 0;\n    for (int epoch",
        )],
    },
    Bug {
        name: "no barrier behind counting",
        wrong: "a bin is read while others count in it",
        edits: &[("        __syncthreads();\n        bin.count +=", "        bin.count +=")],
    },
    Bug {
        name: "the maximum is the block's",
        wrong: "another block of the row may have the largest logit, and has not stored it yet",
        edits: &[("    row_sync();\n    top = -INF;\n", "    __syncthreads();\n    top = -INF;\n")],
    },
    Bug {
        name: "no barrier of the row behind counts",
        wrong: "counts of a block are read by another before they are there",
        edits: &[("    shared.masses[own] = bin.mass;\n    row_sync();\n", "    shared.masses[own] = bin.mass;\n")],
    },
    Bug {
        name: "a block leaves early",
        wrong: "the shared memory of a block is gone when another reads its sums",
        edits: &[("    // The others read sums of this block.\n    row_sync();\n", "")],
    },
    Bug {
        name: "no barrier behind the sums of warps",
        wrong: "a warp adds up what slower ones have yet to write",
        edits: &[(
            "    if (threadIdx.x == 0) shared.bin = -1;\n    __syncthreads();\n",
            "    if (threadIdx.x == 0) shared.bin = -1;\n",
        )],
    },
];

const TIES_BUGS: &[Bug] = &[
    Bug {
        name: "elements beyond the row count",
        wrong: "the rest of an iteration is not part of the row",
        edits: &[("n, vectors, -INF);", "n, vectors, 0.0f);")],
    },
    Bug {
        name: "the last token is the block's own",
        wrong: "the block that finds it has not yet stored it for the others",
        edits: &[(
            "        if (lane_id() == 0) shared.draw.token = token;\n    }\n    row_sync();\n",
            "        if (lane_id() == 0) shared.draw.token = token;\n    }\n",
        )],
    },
];

const VERIFY_BUGS: &[Bug] = &[
    Bug {
        name: "no barrier behind the rejections",
        wrong: "warps go on with a number of accepted tokens that others have yet to lower",
        edits: &[("    __syncthreads();\n    const int accepted", "    const int accepted")],
    },
    Bug {
        name: "a block leaves early",
        wrong: "the shared memory of a block is gone when another reads its sums",
        edits: &[("    // The others read sums of this block.\n    row_sync();\n", "")],
    },
];
