//! Bugs in attention.

use super::{Bug, Subject, differs, kernel};
use crate::attention::{ATTENTION, STATES};
use crate::device::Device;
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "attention of small tiles", source: &ATTENTION, exercise: small, bugs: SMALL },
        Subject { name: "attention of large tiles", source: &ATTENTION, exercise: large, bugs: LARGE },
        Subject { name: "attention_merge", source: &STATES, exercise: merged, bugs: MERGE },
        Subject { name: "append", source: &STATES, exercise: append, bugs: APPEND },
    ]
}

/// Three items for each block, every second of which is of nothing, and for each warp more loads than it has buffers.
fn small(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 6), ("hq", 24), ("hkv", 2), ("d", 64), ("page", 5), ("kv", 420)];
    differs(&*kernel(device, "attention.decode.bf16")?, "kv_zero", &extents, seed)
}

/// Two tiles of each request and head, with more runs than there are buffers.
fn large(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 2), ("hq", 4), ("hkv", 2), ("d", 64), ("page", 16), ("lq", 75), ("kv", 170), ("mask", 1)];
    differs(&*kernel(device, "attention.prefill.bf16")?, "random", &extents, seed)
}

/// States of two levels, both of them of nothing for every second request.
fn merged(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("groups", 1), ("b", 4), ("hq", 4), ("hkv", 2), ("d", 64), ("page", 5), ("prefix", 0), ("kv", 40)];
    differs(&*kernel(device, "attention.cascade.bf16")?, "kv_zero", &extents, seed)
}

fn append(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 4), ("hkv", 2), ("d", 64), ("page", 5), ("new", 7), ("kv", 9)];
    differs(&*kernel(device, "attention.append.bf16")?, "ragged", &extents, seed)
}

const SMALL: &[Bug] = &[
    Bug {
        name: "no wait for keys",
        wrong: "scores are of what lay in the buffer before",
        edits: &[(
            "        // The keys of this run are there, for every lane.\n        cp_async_wait<SLOTS - 2>();\n",
            "",
        )],
    },
    Bug {
        name: "wait for keys one group too lax",
        wrong: "the copies of these keys may be those still on their way",
        edits: &[(
            "for every lane.\n        cp_async_wait<SLOTS - 2>();",
            "for every lane.\n        cp_async_wait<SLOTS - 1>();",
        )],
    },
    Bug {
        name: "wait for values one group too lax",
        wrong: "the copies of these values may be those still on their way",
        edits: &[(
            "// So are its values.\n        cp_async_wait<SLOTS - 2>();",
            "// So are its values.\n        cp_async_wait<SLOTS - 1>();",
        )],
    },
    Bug {
        name: "no group for a load that there is not",
        wrong: "towards the end, fewer groups are under way than the wait allows for",
        edits: &[(
            "    }                                                                                                        \\\n    cp_async_commit();",
            "        cp_async_commit();                                                                                   \\\n    }",
        )],
    },
    Bug {
        name: "load into the buffer in use",
        wrong: "keys are overwritten while they are read",
        edits: &[
            ("LOAD(run * 2 + SLOTS - 1);", "LOAD(run * 2 + SLOTS);"),
            ("LOAD(run * 2 + SLOTS);\n        u32 v", "LOAD(run * 2 + SLOTS + 1);\n        u32 v"),
        ],
    },
    Bug {
        name: "no barrier before states of warps are merged",
        wrong: "the states of other warps are not there yet",
        edits: &[("    __syncthreads();\n\n    // Eight threads merge a row.", "\n    // Eight threads merge a row.")],
    },
    Bug {
        name: "no barrier behind a tile",
        wrong: "the next tile's rows and copies overwrite states that are still read",
        edits: &[(
            "        small_tile(p, item_of(p, number), dynamic_shared);\n        __syncthreads();\n",
            "        small_tile(p, item_of(p, number), dynamic_shared);\n",
        )],
    },
    Bug {
        name: "no barrier behind the rows",
        wrong: "other warps read rows that are not written yet",
        edits: &[(
            "rows[threadIdx.x] = row_of(p, r, item, threadIdx.x);\n    __syncthreads();\n",
            "rows[threadIdx.x] = row_of(p, r, item, threadIdx.x);\n",
        )],
    },
    Bug {
        name: "difference of two infinities",
        wrong: "a tile that sees nothing has -inf as its largest score, from which -inf is subtracted",
        edits: &[
            ("        float base = most == -INF ? 0.0f : most;\n", "        float base = most;\n"),
            ("            if (VARIANT_SOFTMAX && state.x == -INF) factors[w] = 1.0f;\n", ""),
        ],
    },
];

const LARGE: &[Bug] = &[
    Bug {
        name: "wait for keys one group too lax",
        wrong: "the copies of these keys may be those still on their way",
        edits: &[(
            "// The keys of this run are there, and nobody reads those of the one before.\n        cp_async_wait<1>();",
            "// The keys of this run are there, and nobody reads those of the one before.\n        cp_async_wait<2>();",
        )],
    },
    Bug {
        name: "no wait for values",
        wrong: "what is added lay in the buffer before",
        edits: &[(
            "// The values of this run are there, and nobody reads those of the one before.\n        cp_async_wait<1>();\n",
            "",
        )],
    },
    Bug {
        name: "no barrier behind the wait for keys",
        wrong: "a thread's wait is for its own copies; those of other warps may be on their way",
        edits: &[(
            "reads those of the one before.\n        cp_async_wait<1>();\n        __syncthreads();\n        if (run + 1 < runs) load_tile(p, keys",
            "reads those of the one before.\n        cp_async_wait<1>();\n        if (run + 1 < runs) load_tile(p, keys",
        )],
    },
    Bug {
        name: "no barrier behind the wait for values",
        wrong: "a thread's wait is for its own copies; those of other warps may be on their way",
        edits: &[(
            "reads those of the one before.\n        cp_async_wait<1>();\n        __syncthreads();\n        if (run + 1 < runs) load_tile(p, values",
            "reads those of the one before.\n        cp_async_wait<1>();\n        if (run + 1 < runs) load_tile(p, values",
        )],
    },
    Bug {
        name: "next keys into the buffer in use",
        wrong: "keys are overwritten while they are read",
        edits: &[("load_tile(p, keys + (run + 1) % 2 * TILE_BYTES,", "load_tile(p, keys + run % 2 * TILE_BYTES,")],
    },
    Bug {
        name: "lines of the next run overwritten",
        wrong: "other threads still copy values by these lines",
        edits: &[("lines + run % 2 * POSITIONS);", "lines + (run + 1) % 2 * POSITIONS);")],
    },
];

const MERGE: &[Bug] = &[
    Bug {
        name: "difference of two infinities",
        wrong: "states of nothing have -inf as their largest logarithm, from which -inf is subtracted",
        edits: &[("float base = most == -INF ? 0.0f : most, total = 0.0f;", "float base = most, total = 0.0f;")],
    },
    Bug {
        name: "one state too many",
        wrong: "the state behind a row's is another row's, or of no one",
        edits: &[("states = indptr[number + 1] - begin;", "states = indptr[number + 1] - begin + 1;")],
    },
];

const APPEND: &[Bug] = &[Bug {
    name: "values where keys are",
    wrong: "two copies write the same places in no order",
    edits: &[("kv[(to + page) * line + i] = v", "kv[to * line + i] = v")],
}];
