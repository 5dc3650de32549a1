//! Bugs in the kernels of private information retrieval.

use super::{Bug, Subject, differs, kernel};
use crate::device::Device;
use crate::pir::PIR;
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "pir_scan", source: &PIR, exercise: scan, bugs: SCAN_BUGS },
        Subject { name: "pir_matrix", source: &PIR, exercise: matrix, bugs: MATRIX_BUGS },
        Subject { name: "pir_matrix of odd rows", source: &PIR, exercise: odd, bugs: ODD_BUGS },
    ]
}

fn exercise(device: &Device, extents: [usize; 3], seed: u64) -> Result<Option<String>, OpError> {
    let [queries, buckets, words] = extents;
    let extents = [("queries", queries), ("buckets", buckets), ("words", words)];
    differs(&*kernel(device, "pir_scan.u64")?, "random", &extents, seed)
}

/// Several chunks of two tiles, the last of which is short. Warps read masks that others made.
fn scan(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    exercise(device, [5, 700, 20], seed)
}

/// Two chunks of six steps, more than there are slots.
fn matrix(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    exercise(device, [40, 3000, 12], seed)
}

/// Rows that begin at multiples of 8 bytes, the last of which end within a stripe.
fn odd(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    exercise(device, [17, 900, 9], seed)
}

const SCAN_BUGS: &[Bug] = &[
    Bug {
        name: "one place for masks",
        wrong: "a warp writes masks of the next tile where a slower one still reads",
        edits: &[("tile += TILE, turn ^= 1)", "tile += TILE)")],
    },
    Bug {
        name: "no barrier behind the masks",
        wrong: "masks that other threads store are read before they are there",
        edits: &[("length, queries);\n        __syncthreads();", "length, queries);")],
    },
    Bug {
        name: "a chunk has no end",
        wrong: "buckets of the chunks behind it count twice",
        edits: &[("end = min_of(buckets - begin, chunk) + begin;", "end = buckets;")],
    },
    Bug {
        name: "a tile has no end",
        wrong: "what lies behind the database is read, though no request asks for it",
        edits: &[("inside && at < TILE && tile + at < end;", "inside && at < TILE;")],
    },
    Bug {
        name: "no barrier before the sums of the next request",
        wrong: "a warp writes its sum where the threads of the first row still read",
        edits: &[("column] = sums[q];\n        }\n        __syncthreads();", "column] = sums[q];\n        }")],
    },
];

const MATRIX_BUGS: &[Bug] = &[
    Bug {
        name: "a wait one group too lax",
        wrong: "the step's slot is read while its copies are under way",
        edits: &[("cp_async_wait<STAGES - 2>();", "cp_async_wait<STAGES - 1>();")],
    },
    Bug {
        name: "no barrier before a slot is overwritten",
        wrong: "copies of other threads are read before these have waited for them, and written where others still read",
        edits: &[("cp_async_wait<STAGES - 2>();\n        __syncthreads();", "cp_async_wait<STAGES - 2>();")],
    },
    Bug {
        name: "copies into the slot in use",
        wrong: "the slot of this step is overwritten instead of the one before it",
        edits: &[("(step + STAGES - 1) % STAGES * SLOT", "step % STAGES * SLOT")],
    },
    Bug {
        name: "a chunk has no end",
        wrong: "buckets of the chunks behind it count twice",
        edits: &[("min_of(buckets - begin, chunk) + begin,", "buckets,")],
    },
    Bug {
        name: "no barrier before the results",
        wrong: "results are written where slower warps still read the last step",
        edits: &[("cp_async_wait<0>();\n    __syncthreads();", "cp_async_wait<0>();")],
    },
    Bug {
        name: "no barrier behind the results",
        wrong: "bytes that other warps store are read before they are there",
        edits: &[("half] = byte;\n        }\n    }\n    __syncthreads();", "half] = byte;\n        }\n    }")],
    },
];

const ODD_BUGS: &[Bug] = &[
    Bug {
        name: "words beyond the bucket are copied",
        wrong: "behind the last bucket they lie outside the database",
        edits: &[("bucket + row < scan.end && scan.stripe + byte < scan.words * 8;", "bucket + row < scan.end;")],
    },
    Bug {
        name: "requests of the next batch are copied",
        wrong: "there are none behind the last request",
        edits: &[("scan.query + query < scan.queries && at < scan.length;", "at < scan.length;")],
    },
];
