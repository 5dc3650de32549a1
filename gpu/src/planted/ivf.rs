//! Bugs in retrieval.

use super::{Bug, Subject, differs, kernel};
use crate::device::Device;
use crate::ivf::{IVF, TOPK};
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "ivf_scan", source: &IVF, exercise: scan, bugs: SCAN },
        Subject { name: "ivf_scan of ragged vectors", source: &IVF, exercise: ragged, bugs: RAGGED },
        Subject { name: "best_candidates", source: &TOPK, exercise: scan, bugs: BEST },
        Subject { name: "topk_merge", source: &TOPK, exercise: merge, bugs: MERGE },
    ]
}

/// Items of several queries each, more of them than blocks, whose last rounds are not whole.
fn scan(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("n", 1500), ("d", 32), ("lists", 12), ("q", 7), ("nprobe", 12), ("k", 40)];
    differs(&*kernel(device, "ivf_scan.bf16")?, "equal", &extents, seed)
}

/// Vectors that end within 16 bytes, and whose distances what follows them would change.
fn ragged(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("n", 300), ("d", 21), ("lists", 3), ("q", 2), ("nprobe", 3), ("metric", 1)];
    differs(&*kernel(device, "ivf_scan.bf16")?, "equal", &extents, seed)
}

fn merge(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    differs(&*kernel(device, "topk_merge.f32")?, "equal", &[("parts", 9), ("q", 3), ("m", 101), ("k", 50)], seed)
}

const SCAN: &[Bug] = &[
    Bug {
        name: "no barrier before the next queries",
        wrong: "queries are overwritten while slower warps score with them",
        edits: &[("        // The queries of the item before are read no more.\n        __syncthreads();\n", "")],
    },
    Bug {
        name: "no barrier behind the queries",
        wrong: "a warp scores with queries that others have not written yet",
        edits: &[("        __syncthreads();\n        for (int base", "        for (int base")],
    },
    Bug {
        name: "vectors beyond the stretch count",
        wrong: "the last vector of a stretch stands in for those that there are not, with the ids of others",
        edits: &[("lane_id() < WARP_ROWS && vector < count;", "lane_id() < WARP_ROWS;")],
    },
    Bug {
        name: "candidates that wait are left out",
        wrong: "what came after the last merge is lost",
        edits: &[("own.absorb_waiting(all_counts[warp][q]);", "own.absorb_waiting(0);")],
    },
    Bug {
        name: "every warp leaves its candidates in one place",
        wrong: "they overwrite each other",
        edits: &[("[2 * (item.z + q) + 1] + warp * kept;", "[2 * (item.z + q) + 1];")],
    },
];

const RAGGED: &[Bug] = &[Bug {
    name: "one element too many",
    wrong: "the first element of the next vector is a part of this one's distance",
    edits: &[("        if (at + i < d) {", "        if (at + i <= d) {")],
}];

const BEST: &[Bug] = &[
    Bug {
        name: "no barrier before queues of warps are merged",
        wrong: "the queues of other warps are not complete yet",
        edits: &[("    __syncthreads();\n    if (threadIdx.x >= 32) return;", "    if (threadIdx.x >= 32) return;")],
    },
    Bug {
        name: "merging ends at the best instead of the last",
        wrong: "what other warps have between the two is left out",
        edits: &[("if (other[at] >= own.kept[k - 1]) break;", "if (other[at] >= own.kept[0]) break;")],
    },
    Bug {
        name: "one candidate too many",
        wrong: "the first candidate of the next query is taken for one of this",
        edits: &[("x[i] = at < end ? candidates[at] : NOTHING;", "x[i] = at <= end ? candidates[at] : NOTHING;")],
    },
];

const MERGE: &[Bug] = &[
    Bug {
        name: "no barrier before queues of warps are merged",
        wrong: "the queues of other warps are not complete yet",
        edits: &[("    __syncthreads();\n    if (threadIdx.x >= 32) return;", "    if (threadIdx.x >= 32) return;")],
    },
    Bug {
        name: "parts follow each other without the other queries",
        wrong: "entries of other queries are taken for this one's",
        edits: &[("part * stride + query * m + entry", "(i64)part * m + query * m + entry")],
    },
];
