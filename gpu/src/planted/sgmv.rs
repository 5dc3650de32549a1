//! Bugs in products with low-rank adapters.

use super::{Bug, Subject, differs, kernel};
use crate::device::Device;
use crate::sgmv::SGMV;
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "sgmv", source: &SGMV, exercise: fused, bugs: FUSED },
        Subject { name: "sgmv of many rows and ranks", source: &SGMV, exercise: many, bugs: MANY },
        Subject { name: "sgmv, infinite rows", source: &SGMV, exercise: infinite, bugs: INFINITE },
        Subject { name: "sgmv, products with B alone", source: &SGMV, exercise: expand, bugs: EXPAND },
    ]
}

/// More items than two multiprocessors hold at once, whose blocks share sums; two warps and more share a pair.
fn fused(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("s", 5), ("rows", 2), ("adapters", 5), ("rank", 13), ("h1", 8192), ("h2", 320), ("page", 64)];
    differs(&*kernel(device, "sgmv.bf16")?, "distinct", &extents, seed)
}

/// Items of several tiles of rows, and of ranks.
fn many(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("s", 9), ("rows", 37), ("adapters", 9), ("rank", 40), ("h1", 256), ("h2", 192), ("page", 64)];
    differs(&*kernel(device, "sgmv.bf16")?, "distinct", &extents, seed)
}

/// Rows with an infinity, which a rank that there is not makes no number; with one rank results are infinite.
fn infinite(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("s", 2), ("rows", 4), ("adapters", 2), ("rank", 1), ("h1", 64), ("h2", 64), ("page", 64)];
    differs(&*kernel(device, "sgmv.bf16")?, "nan_and_inf", &extents, seed)
}

/// Several items a block.
fn expand(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("s", 24), ("rows", 3), ("adapters", 24), ("rank", 24), ("h2", 640), ("page", 64)];
    differs(&*kernel(device, "sgmv.expand.bf16")?, "distinct", &extents, seed)
}

const FUSED: &[Bug] = &[
    Bug {
        name: "no barrier before sums of warps are added",
        wrong: "the sums of other warps are not there yet",
        edits: &[("    if (splits == 1) return;\n    __syncthreads();\n", "    if (splits == 1) return;\n")],
    },
    Bug {
        name: "a barrier of the block in the place of one of the cluster",
        wrong: "the sums of other blocks are not there yet",
        edits: &[(
            "        // Behind this all of the last item is done, whose sums may be overwritten by the next one.\n        meet();\n",
            "        __syncthreads();\n",
        )],
    },
    Bug {
        name: "one place for the sums of all items",
        wrong: "the next item's sums overwrite those that a slower block still reads",
        edits: &[("sum_of_blocks(p, sums + i));\n        turn ^= 1;\n", "sum_of_blocks(p, sums + i));\n")],
    },
    Bug {
        name: "no barrier before the block ends",
        wrong: "other blocks still read the sums of one that is gone",
        edits: &[("    // Other blocks may still read the sums of this one.\n    meet();\n", "")],
    },
    Bug {
        name: "no barrier before products are expanded",
        wrong: "the products that other threads put are not there yet",
        edits: &[("        __syncthreads();\n        expand(p, item, block);\n", "        expand(p, item, block);\n")],
    },
    Bug {
        name: "the sums of this block alone",
        wrong: "what the other blocks of the cluster have summed is left out",
        edits: &[(
            "for (int rank = 1; rank < p.cluster; rank++)",
            "for (int rank = p.cluster; rank < p.cluster; rank++)",
        )],
    },
    Bug {
        name: "ranks beyond the adapter's",
        wrong: "the next adapter's rows of B are multiplied with what is no product, or there is no such entry",
        edits: &[("rank < item.ranks ? page_at(p, block.pages[rank]) : nullptr", "page_at(p, block.pages[rank])")],
    },
    Bug {
        name: "rows beyond the segment",
        wrong: "rows of the next segment get the products of this one",
        edits: &[("if (row >= item.rows || at >= p.h2) continue;", "if (at >= p.h2) continue;")],
    },
];

const MANY: &[Bug] = &[
    Bug {
        name: "pairs of ranks and rows mixed up",
        wrong: "products of a tile of rows are taken for those of another",
        edits: &[("const int pair = group * tiles + tile;", "const int pair = tile * groups + group;")],
    },
    Bug {
        name: "pages of B before those of the last item are read",
        wrong: "a slower block still expands with them",
        edits: &[
            (
                "        for (int i = threadIdx.x; i < item.ranks; i += THREADS) block.pages[i] = p.b_index[item.entry + i];\n",
                "",
            ),
            (
                "        prefetch(p, item, block);\n",
                "        prefetch(p, item, block);\n        for (int i = threadIdx.x; i < item.ranks; i += THREADS) block.pages[i] = p.b_index[item.entry + i];\n",
            ),
        ],
    },
];

const INFINITE: &[Bug] = &[
    Bug {
        name: "products of ranks that there are not",
        wrong: "zero times an infinity is no number, which is added to all columns",
        edits: &[
            ("    if (rank >= item.ranks) v.x = v.z = 0.0f;\n", ""),
            ("    if (rank + 1 >= item.ranks) v.y = v.w = 0.0f;\n", ""),
        ],
    },
    Bug {
        name: "the rest of an infinity",
        wrong: "the difference of two infinities is no number",
        edits: &[(
            "    return fabsf(x) < INF ? x - bits_to_float(float_to_bits(x) & 0xffff0000u) : 0.0f;\n",
            "    return x - bits_to_float(float_to_bits(x) & 0xffff0000u);\n",
        )],
    },
];

const EXPAND: &[Bug] = &[Bug {
    name: "no barrier before the next item's products",
    wrong: "they overwrite what a slower warp still expands",
    edits: &[("        // Every warp is done with the products of the last item.\n        __syncthreads();\n", "")],
}];
