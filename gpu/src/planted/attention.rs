//! Bugs in attention.

use super::{Bug, Subject};
use crate::attention::{ATTENTION, PREFILL, STATES};
use crate::device::Device;
use tandem_ops::OpError;
use tandem_ops::def::{Sample, conform};

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "attention of small tiles", source: &ATTENTION, exercise: small, bugs: SMALL },
        Subject { name: "attention of large tiles", source: &PREFILL, exercise: large, bugs: LARGE },
        Subject { name: "attention_merge", source: &STATES, exercise: merged, bugs: MERGE },
        Subject { name: "append", source: &STATES, exercise: append, bugs: APPEND },
    ]
}

/// Three items for each block, every second of which is of nothing, and for each warp more loads than it has buffers.
fn small(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 6), ("hq", 24), ("hkv", 2), ("d", 64), ("page", 5), ("kv", 420)];
    check(device, "attention.decode.bf16", "kv_zero", &extents, seed)
}

/// Two tiles of each request and head, with more runs than there are buffers.
fn large(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 2), ("hq", 4), ("hkv", 2), ("d", 64), ("page", 16), ("lq", 75), ("kv", 170), ("mask", 1)];
    check(device, "attention.prefill.bf16", "random", &extents, seed)
}

/// States of two levels, both of them of nothing for every second request.
fn merged(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("groups", 1), ("b", 4), ("hq", 4), ("hkv", 2), ("d", 64), ("page", 5), ("prefix", 0), ("kv", 40)];
    check(device, "attention.cascade.bf16", "kv_zero", &extents, seed)
}

fn append(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 4), ("hkv", 2), ("d", 64), ("page", 5), ("new", 7), ("kv", 9)];
    check(device, "attention.append.bf16", "ragged", &extents, seed)
}

fn check(
    device: &Device,
    name: &str,
    sample: &'static str,
    extents: &[(&'static str, usize)],
    seed: u64,
) -> Result<Option<String>, OpError> {
    let mut all = crate::attention::kernels(device);
    let kernel = all.find(|kernel| kernel.operation().def().name == name);
    let kernel = kernel.ok_or_else(|| OpError::Invalid(format!("there is no kernel of {name}")))?;
    let sample = Sample::new(kernel.operation().def(), sample, extents);
    let verdict = conform(kernel.as_ref(), &sample, seed)?;
    let wrong = verdict.results.iter().map(|(port, agreement)| format!("{port} is wrong: {agreement:?}"));
    Ok((!verdict.agrees).then(|| wrong.collect::<Vec<_>>().join("; ")))
}

const SMALL: &[Bug] = &[
    Bug {
        name: "no wait for keys",
        wrong: "scores are of what lay in the buffer before",
        missed: None,
        edits: &[(
            "        // The keys of this run are there, for every lane.\n        cp_async_wait<SLOTS - 2>();\n",
            "",
        )],
    },
    Bug {
        name: "wait for keys one group too lax",
        wrong: "the copies of these keys may be those still on their way",
        missed: None,
        edits: &[(
            "for every lane.\n        cp_async_wait<SLOTS - 2>();",
            "for every lane.\n        cp_async_wait<SLOTS - 1>();",
        )],
    },
    Bug {
        name: "wait for values one group too lax",
        wrong: "the copies of these values may be those still on their way",
        missed: None,
        edits: &[(
            "// So are its values.\n        cp_async_wait<SLOTS - 2>();",
            "// So are its values.\n        cp_async_wait<SLOTS - 1>();",
        )],
    },
    Bug {
        name: "no group for a load that there is not",
        wrong: "towards the end, fewer groups are under way than the wait allows for",
        missed: None,
        edits: &[(
            "    }                                                                                                        \\\n    cp_async_commit();",
            "        cp_async_commit();                                                                                   \\\n    }",
        )],
    },
    Bug {
        name: "load into the buffer in use",
        wrong: "keys are overwritten while they are read",
        missed: None,
        edits: &[
            ("LOAD(run * 2 + SLOTS - 1);", "LOAD(run * 2 + SLOTS);"),
            ("LOAD(run * 2 + SLOTS);\n        u32 v", "LOAD(run * 2 + SLOTS + 1);\n        u32 v"),
        ],
    },
    Bug {
        name: "no barrier before states of warps are merged",
        wrong: "the states of other warps are not there yet",
        missed: None,
        edits: &[("    __syncthreads();\n\n    // Eight threads merge a row.", "\n    // Eight threads merge a row.")],
    },
    Bug {
        name: "no barrier behind a tile",
        wrong: "the next tile's rows and copies overwrite states that are still read",
        missed: None,
        edits: &[(
            "        small_tile(p, item_of(p, number), dynamic_shared);\n        __syncthreads();\n",
            "        small_tile(p, item_of(p, number), dynamic_shared);\n",
        )],
    },
    Bug {
        name: "no barrier behind the rows",
        wrong: "other warps read rows that are not written yet",
        missed: None,
        edits: &[(
            "rows[threadIdx.x] = row_of(p, r, item, threadIdx.x);\n    __syncthreads();\n",
            "rows[threadIdx.x] = row_of(p, r, item, threadIdx.x);\n",
        )],
    },
    Bug {
        name: "difference of two infinities",
        wrong: "a tile that sees nothing has -inf as its largest score, from which -inf is subtracted",
        missed: None,
        edits: &[
            ("        float base = most == -INF ? 0.0f : most;\n", "        float base = most;\n"),
            ("            if (VARIANT_SOFTMAX && state.x == -INF) factors[w] = 1.0f;\n", ""),
        ],
    },
];

const LARGE: &[Bug] = &[];

const MERGE: &[Bug] = &[
    Bug {
        name: "difference of two infinities",
        wrong: "states of nothing have -inf as their largest logarithm, from which -inf is subtracted",
        missed: None,
        edits: &[("float base = most == -INF ? 0.0f : most, total = 0.0f;", "float base = most, total = 0.0f;")],
    },
    Bug {
        name: "one state too many",
        wrong: "the state behind a row's is another row's, or of no one",
        missed: None,
        edits: &[("states = indptr[number + 1] - begin;", "states = indptr[number + 1] - begin + 1;")],
    },
];

const APPEND: &[Bug] = &[Bug {
    name: "values where keys are",
    wrong: "two copies write the same places in no order",
    missed: None,
    edits: &[("kv[(to + page) * line + i] = v", "kv[to * line + i] = v")],
}];
