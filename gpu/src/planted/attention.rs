//! Bugs in attention.

use super::{Bug, Subject, differs, kernel};
use crate::attention::{ATTENTION, PREFILL, STATES};
use crate::device::Device;
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "attention of small tiles", source: &ATTENTION, exercise: small, bugs: SMALL },
        Subject { name: "attention of large tiles, pages", source: &PREFILL, exercise: pages, bugs: PAGES },
        Subject { name: "attention of large tiles, lines", source: &PREFILL, exercise: lines, bugs: LINES },
        Subject { name: "attention of large tiles, nothing", source: &PREFILL, exercise: nothing, bugs: NOTHING },
        Subject { name: "attention_merge", source: &STATES, exercise: merged, bugs: MERGE },
        Subject { name: "append", source: &STATES, exercise: append, bugs: APPEND },
        Subject { name: "attention of codes", source: &ATTENTION, exercise: codes, bugs: CODES },
        Subject { name: "append of codes", source: &STATES, exercise: append_codes, bugs: APPEND_CODES },
    ]
}

/// Three items for each block, every second of which is of nothing, and for each warp more loads than it has buffers.
fn small(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 6), ("hq", 24), ("hkv", 2), ("d", 64), ("page", 5), ("kv", 420)];
    differs(&*kernel(device, "attention.decode.bf16")?, "kv_zero", &extents, seed)
}

/// More runs for each block than there are slots, of which the first half of a tile does not see the last.
fn pages(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 2), ("hq", 2), ("hkv", 2), ("d", 80), ("page", 16), ("lq", 126), ("kv", 395), ("mask", 1)];
    differs(&*kernel(device, "attention.prefill.bf16")?, "equal", &extents, seed)
}

/// Without pages, so that all runs of a request but the last come by TMA; and each row sees all of them.
fn lines(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 2), ("hq", 2), ("hkv", 2), ("d", 80), ("lq", 126), ("kv", 400)];
    differs(&*kernel(device, "attention.ragged.bf16")?, "equal", &extents, seed)
}

/// Every second request has no positions, so that its tiles meet no barrier between their rows and their results.
fn nothing(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 2), ("hq", 2), ("hkv", 2), ("d", 80), ("page", 16), ("lq", 126), ("kv", 80)];
    differs(&*kernel(device, "attention.prefill.bf16")?, "kv_zero", &extents, seed)
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

/// For each warp more loads than it has buffers, whose last run is short.
fn codes(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 2), ("hq", 4), ("hkv", 2), ("d", 64), ("page", 5), ("kv", 326)];
    differs(&*kernel(device, "attention.decode_kv4.bf16")?, "equal", &extents, seed)
}

/// Rows that fill no warp, some of which have no scale.
fn append_codes(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 4), ("hkv", 5), ("d", 64), ("page", 5), ("new", 7), ("kv", 9)];
    differs(&*kernel(device, "attention.append_kv4.bf16")?, "nan_and_inf", &extents, seed)
}

/// Of numbers and of codes.
const LAX_KEYS: Bug = Bug {
    name: "wait for keys one group too lax",
    wrong: "the copies of these keys may be those still on their way",
    edits: &[(
        "for every lane.\n        cp_async_wait<SLOTS - 2>();",
        "for every lane.\n        cp_async_wait<SLOTS - 1>();",
    )],
};

const SMALL: &[Bug] = &[
    Bug {
        name: "no wait for keys",
        wrong: "scores are of what lay in the buffer before",
        edits: &[(
            "        // The keys of this run are there, for every lane.\n        cp_async_wait<SLOTS - 2>();\n",
            "",
        )],
    },
    LAX_KEYS,
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

const PAGES: &[Bug] = &[
    Bug {
        name: "no wait for an empty slot",
        wrong: "keys and values are overwritten while they are read",
        edits: &[("    mbarrier_wait(block.empty(operand, n), phase_of(n) ^ 1);\n", "")],
    },
    Bug {
        name: "wait for an empty slot in the wrong phase",
        wrong: "nobody has released the slots that the first runs go to",
        edits: &[("block.empty(operand, n), phase_of(n) ^ 1)", "block.empty(operand, n), phase_of(n))")],
    },
    Bug {
        name: "copies announced before they are there",
        wrong: "the barrier is full while cp.async is under way",
        edits: &[("    cp_async_wait<0>();\n", "")],
    },
    Bug {
        name: "no fence between cp.async and wgmma",
        wrong: "the one writes through the generic proxy, and the other reads through the async one",
        edits: &[("    fence_proxy_async();\n", "")],
    },
    Bug {
        name: "lines behind the end are not zeros",
        wrong: "what no row sees may be no number, and nothing times that is none",
        edits: &[
            ("if (!mapped && position + lane < item.end) line", "if (!mapped) line"),
            ("row + 32 < POSITIONS && next < item.end ? line_of", "row + 32 < POSITIONS ? line_of"),
        ],
    },
    Bug {
        name: "no wait for keys",
        wrong: "scores are of what lay in the slot before",
        edits: &[(
            "                mbarrier_wait(block.full(KEYS, n), phase_of(n));\n                take_turn",
            "                take_turn",
        )],
    },
    Bug {
        name: "no wait for queries",
        wrong: "scores are of the queries of the tile before",
        edits: &[("        if (runs > 0) mbarrier_wait(block.queries_full(), tiles & 1);\n", "")],
    },
    Bug {
        name: "scores used before they are there",
        wrong: "both groups of products may be under way",
        edits: &[("wgmma_wait<1>();", "wgmma_wait<2>();")],
    },
    Bug {
        name: "sums multiplied while values are added",
        wrong: "the accumulators are those of a product under way",
        edits: &[(
            "                wgmma_wait<0>();\n                wgmma_hold(flat(o));",
            "                wgmma_wait<1>();\n                wgmma_hold(flat(o));",
        )],
    },
    Bug {
        name: "keys released before the product is done",
        wrong: "the next keys may come while these are read",
        edits: &[(
            "                wgmma_wait<1>();\n                wgmma_hold(flat(s));\n                release(block.empty(KEYS, n));",
            "                release(block.empty(KEYS, n));\n                wgmma_wait<1>();\n                wgmma_hold(flat(s));",
        )],
    },
    Bug {
        name: "values released with the keys",
        wrong: "the next values may come while these are read",
        edits: &[
            ("                release(block.empty(VALUES, n - 1));\n", ""),
            (
                "                release(block.empty(KEYS, n));\n                if",
                "                release(block.empty(KEYS, n));\n                release(block.empty(VALUES, n - 1));\n                if",
            ),
        ],
    },
    Bug {
        name: "a slot released by one warp for all four",
        wrong: "the others may still read it",
        edits: &[
            ("    if (elect_one()) mbarrier_arrive(empty);", "    if (threadIdx.x % 128 == 0) mbarrier_arrive(empty);"),
            ("block.empty(operand, n), CONSUMERS * 4);", "block.empty(operand, n), CONSUMERS);"),
            ("block.queries_empty(), CONSUMERS * 4);", "block.queries_empty(), CONSUMERS);"),
        ],
    },
    Bug {
        name: "a passed run that is not released",
        wrong: "its slots stay full",
        edits: &[("        release(block.empty(operand, n));\n", "")],
    },
    Bug {
        name: "no fence before the products",
        wrong: "the sums and weights have been written since the last one",
        edits: &[(
            "                wgmma_fence();\n                ask_scores(s, queries, block.tile(KEYS, n));\n                mbarrier_wait",
            "                ask_scores(s, queries, block.tile(KEYS, n));\n                mbarrier_wait",
        )],
    },
    Bug {
        name: "a turn that is not given",
        wrong: "the other consumer waits for ever",
        edits: &[("block.tile(VALUES, n - 1));\n                give_turn(consumer);", "block.tile(VALUES, n - 1));")],
    },
    Bug {
        name: "results read before they are written",
        wrong: "they are other lanes'",
        edits: &[("        __syncwarp();\n        // Eight lanes write", "        // Eight lanes write")],
    },
];

const LINES: &[Bug] = &[
    Bug {
        name: "fewer bytes expected than come",
        wrong: "the barrier is full when the first box is there",
        edits: &[("mbarrier_expect_tx(full, TILE_BYTES);", "mbarrier_expect_tx(full, BOX);")],
    },
    Bug {
        name: "no wait for an empty slot",
        wrong: "keys and values are overwritten while they are read",
        edits: &[("    mbarrier_wait(block.empty(operand, n), phase_of(n) ^ 1);\n", "")],
    },
    Bug {
        name: "barriers not fenced",
        wrong: "the copies of TMA may not find them initialised",
        edits: &[("        fence_mbarrier_init();\n", "")],
    },
    Bug {
        name: "no barrier of the block behind those of memory",
        wrong: "other warps use them before they are initialised",
        edits: &[(
            "        fence_mbarrier_init();\n    }\n    __syncthreads();\n",
            "        fence_mbarrier_init();\n    }\n",
        )],
    },
    Bug {
        name: "no wait for the place of the queries",
        wrong: "queries are overwritten while they are read",
        edits: &[("                mbarrier_wait(block.queries_empty(), tiles & 1 ^ 1);\n", "")],
    },
    Bug {
        name: "no wait for values",
        wrong: "what is added lay in the slot before",
        edits: &[("                mbarrier_wait(block.full(VALUES, n - 1), phase_of(n - 1));\n", "")],
    },
    Bug {
        name: "queries released a run too early",
        wrong: "the last scores of the tile are still to come",
        edits: &[
            ("if (n + 1 == before + high) release", "if (n + 2 == before + high) release"),
            ("if (low + 1 == high) release", "if (low + 2 >= high) release"),
        ],
    },
];

const NOTHING: &[Bug] = &[Bug {
    name: "rows read before they are written",
    wrong: "they are other lanes'",
    edits: &[("row.begin, row.end));\n    }\n    __syncwarp();", "row.begin, row.end));\n    }")],
}];

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

const CODES: &[Bug] = &[
    LAX_KEYS,
    Bug {
        name: "scales of the first buffer",
        wrong: "codes are those of another run",
        edits: &[("scale_address(keys, lane / 4", "scale_address(loader.slots, lane / 4")],
    },
    Bug {
        name: "codes behind the end are not zeros",
        wrong: "nothing times what is no number is none",
        edits: &[(
            "return position < item.end ? line_of(p, r, position) : -1;",
            "return line_of(p, r, min_of(position, r.positions + 3));",
        )],
    },
    Bug {
        name: "keys of even positions before those of odd ones",
        wrong: "scores are those of other positions, and their scales too",
        edits: &[(
            "load_shared_4(code_address(keys, lane / 4 + half * 8, k)",
            "load_shared_4(code_address(keys, lane / 4 * 2 + half, k)",
        )],
    },
    Bug {
        name: "zeros added",
        wrong: "a zero is what is taken from a code's worth",
        edits: &[("0x7632) ^ 0x80008000u}", "0x7632)}")],
    },
    Bug {
        name: "a row's scale for its neighbour",
        wrong: "the values of two positions have a scale each",
        edits: &[("load_shared_4(address + 4)", "load_shared_4(address)")],
    },
    Bug {
        name: "queries in their own order",
        wrong: "elements meet those of another place",
        edits: &[("x = in_order_of_codes(*(const uint4*)(from + i * 32));", "x = *(const uint4*)(from + i * 32);")],
    },
    Bug {
        name: "values left in the order of tiles",
        wrong: "elements of a result change places",
        edits: &[("+ (lane % 4 * 2 + j / 2 % 2) * 8 + j % 2 * 4;", "+ (lane % 4 * 2 + j % 2) * 8 + j / 2 % 2 * 4;")],
    },
];

const APPEND_CODES: &[Bug] = &[
    Bug {
        name: "ends of a part of a row",
        wrong: "lanes of the other half have smaller and larger numbers",
        edits: &[("for (int mask = lanes / 2; mask", "for (int mask = lanes / 4; mask")],
    },
    Bug {
        name: "ends of the neighbour's row as well",
        wrong: "a warp has several rows",
        edits: &[("for (int mask = lanes / 2; mask", "for (int mask = 16; mask")],
    },
    Bug {
        name: "a range of what is no number",
        wrong: "a NaN is no end of a range",
        edits: &[("    if (!(fabsf(low) < INF && fabsf(high) < INF)) return {0x7fc0u, 0.0f, 0.0f};\n", "")],
    },
    Bug {
        name: "values where keys are",
        wrong: "two rows write the same places in no order",
        edits: &[("place.page_line + (value ? page : 0);", "place.page_line;")],
    },
    Bug {
        name: "rows behind the last head",
        wrong: "they are those of the next position, or of no one",
        edits: &[("inside = number < 2 * heads,", "inside = true,")],
    },
];
