//! Bugs in the matrix products.

use super::{Bug, Subject, differs};
use crate::device::Device;
use crate::gemm::{HOPPER, MMA, Path, Product, Wish};
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "gemm_tma", source: &HOPPER, exercise: tma, bugs: TMA },
        Subject { name: "gemm_tma in clusters", source: &HOPPER, exercise: tma_cluster, bugs: CLUSTER },
        Subject { name: "gemm_mma", source: &MMA, exercise: mma, bugs: MMA_BUGS },
        Subject { name: "gemm_f32", source: &MMA, exercise: simt, bugs: SIMT },
    ]
}

/// Four tiles whose steps together are more than there are slots, on few enough blocks that some take two.
fn tma(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let wish = Wish { path: Some(Path::Tma), tile_n: Some(128), splits: Some(1), cluster: Some(1) };
    product(device, "gemm.bf16", [136, 136, 320], wish, seed)
}

fn tma_cluster(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let wish = Wish { path: Some(Path::Tma), tile_n: Some(128), splits: Some(1), cluster: Some(2) };
    product(device, "gemm.bf16", [136, 136, 320], wish, seed)
}

fn mma(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let wish = Wish { path: Some(Path::Mma), tile_n: Some(64), splits: Some(1), ..Wish::default() };
    product(device, "gemm.bf16", [70, 60, 328], wish, seed)
}

fn simt(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    product(device, "gemm.f32", [70, 60, 50], Wish::default(), seed)
}

fn product(
    device: &Device,
    name: &'static str,
    [m, n, k]: [usize; 3],
    wish: Wish,
    seed: u64,
) -> Result<Option<String>, OpError> {
    differs(&Product::new(device, name, wish)?, "random", &[("m", m), ("n", n), ("k", k)], seed)
}

const TMA: &[Bug] = &[
    Bug {
        name: "no wait for the last products",
        wrong: "results are taken from registers that wgmma still writes",
        edits: &[("            wgmma_wait<0>();\n", "")],
    },
    Bug {
        name: "slot released before the wait",
        wrong: "the producer may overwrite a slot that wgmma still reads",
        edits: &[("                wgmma_wait<1>();\n", "")],
    },
    Bug {
        name: "slot of this step released",
        wrong: "the wait is for the products of the step before, not for these",
        edits: &[(
            "if (previous >= 0) release(empty + previous * 8, lane);",
            "if (previous >= 0) release(empty + stage * 8, lane);",
        )],
    },
    Bug {
        name: "wait one group too lax",
        wrong: "the slot that is released is still read by the group before",
        edits: &[("                wgmma_wait<1>();\n", "                wgmma_wait<2>();\n")],
    },
    Bug {
        name: "products in no group",
        wrong: "without a commit, a wait waits for nothing",
        edits: &[("                wgmma_commit();\n", "")],
    },
    Bug {
        name: "no wgmma.fence",
        wrong: "the registers of sums are written by other instructions before, unordered with wgmma",
        edits: &[("                wgmma_fence();\n", "")],
    },
    Bug {
        name: "one arrival a warpgroup",
        wrong: "the other warps may still read the slot that one of them releases",
        edits: &[
            (
                "mbarrier_init(empty + i * 8, CONSUMERS * 4 * CLUSTER);",
                "mbarrier_init(empty + i * 8, CONSUMERS * CLUSTER);",
            ),
            ("    } else if (lane == 0) {", "    } else if (lane == 0 && threadIdx.x / 32 % 4 == 0) {"),
        ],
    },
    Bug {
        name: "announced bytes are those of a alone",
        wrong: "a slot is full before b is there",
        edits: &[("A_BYTES + B_BYTES);", "A_BYTES);")],
    },
    Bug {
        name: "no wait for a full slot",
        wrong: "the slot is read before the copies have landed",
        edits: &[("                mbarrier_wait(full + stage * 8, phase);\n", "")],
    },
    Bug {
        name: "no wait for an empty slot",
        wrong: "a slot is overwritten that is still read",
        edits: &[("                    mbarrier_wait(empty + stage * 8, phase ^ 1);\n", "")],
    },
    Bug {
        name: "first phase of the producer wrong",
        wrong: "the producer waits for slots that nobody has had yet",
        edits: &[("mbarrier_wait(empty + stage * 8, phase ^ 1);", "mbarrier_wait(empty + stage * 8, phase);")],
    },
    Bug {
        name: "phase of the consumers never changes",
        wrong: "in the second turn, the completion of the first is taken for that of the second",
        edits: &[(
            "                    stage = 0;\n                    phase ^= 1;\n",
            "                    stage = 0;\n",
        )],
    },
    Bug {
        name: "phase of the consumers changes every step",
        wrong: "a wait for the phase that is not yet, or long gone",
        edits: &[(
            "                previous = stage;\n",
            "                previous = stage;\n                phase ^= 1;\n",
        )],
    },
    Bug {
        name: "no fence behind the initialisation of barriers",
        wrong: "the copies' completion may find barriers that are not initialised",
        edits: &[("        fence_mbarrier_init();\n", "")],
    },
    Bug {
        name: "no barrier behind the initialisation of barriers",
        wrong: "other warps use barriers that are not initialised",
        edits: &[("    else __syncthreads();\n", "    else {}\n")],
    },
    Bug {
        name: "no proxy fence before the copy out",
        wrong: "TMA may read shared memory before what was stored is visible to it",
        edits: &[("                    fence_proxy_async();\n", "")],
    },
    Bug {
        name: "no barrier before the copy out",
        wrong: "other warps have not stored their rows yet",
        edits: &[(
            "fence_proxy_async();\n                    named_barrier(1 + consumer, 128);\n",
            "fence_proxy_async();\n",
        )],
    },
    Bug {
        name: "no wait before a chunk is used again",
        wrong: "the copy out two turns before may still read it",
        edits: &[("                    if (threadIdx.x % 128 == 0) bulk_wait_read<1>();\n", "")],
    },
    Bug {
        name: "wait before a chunk is used again too lax",
        wrong: "one copy more than there is a chunk for may be under way",
        edits: &[("bulk_wait_read<1>();", "bulk_wait_read<2>();")],
    },
    Bug {
        name: "block ends before its copies out",
        wrong: "shared memory is gone before it has been read",
        edits: &[("        if (threadIdx.x % 128 == 0) bulk_wait<0>();\n", "")],
    },
];

const CLUSTER: &[Bug] = &[
    Bug {
        name: "slot released in the own block alone",
        wrong: "the other block copies into a slot that is still read here",
        edits: &[
            ("mbarrier_init(empty + i * 8, CONSUMERS * 4 * CLUSTER);", "mbarrier_init(empty + i * 8, CONSUMERS * 4);"),
            ("if (lane < CLUSTER) mbarrier_arrive_cluster(empty, lane);", "if (lane == 0) mbarrier_arrive(empty);"),
        ],
    },
    Bug {
        name: "no cluster barrier at the beginning",
        wrong: "the other block's barriers may not be initialised yet",
        edits: &[("    if (CLUSTER > 1) cluster_sync();\n", "    if (CLUSTER > 1) __syncthreads();\n")],
    },
    Bug {
        name: "no cluster barrier at the end",
        wrong: "the other block arrives at barriers of a block that is gone",
        edits: &[("        __syncwarp();\n        cluster_sync();\n", "        __syncwarp();\n")],
    },
];

const MMA_BUGS: &[Bug] = &[
    Bug {
        name: "wait one group too lax",
        wrong: "the copies of this step may be under way",
        edits: &[("cp_async_wait<STAGES - 2>();", "cp_async_wait<STAGES - 1>();")],
    },
    Bug {
        name: "no wait for the copies",
        wrong: "the slot is read before the copies have landed",
        edits: &[("        cp_async_wait<STAGES - 2>();\n", "")],
    },
    Bug {
        name: "no barrier behind the wait",
        wrong: "a thread waits for its own copies alone, and a slot is filled that another warp still reads",
        edits: &[(
            "        cp_async_wait<STAGES - 2>();\n        __syncthreads();\n",
            "        cp_async_wait<STAGES - 2>();\n",
        )],
    },
    Bug {
        name: "barrier before the wait",
        wrong: "the copies of other threads may not have landed",
        edits: &[(
            "        cp_async_wait<STAGES - 2>();\n        __syncthreads();\n",
            "        __syncthreads();\n        cp_async_wait<STAGES - 2>();\n",
        )],
    },
    Bug {
        name: "copy before the barrier",
        wrong: "the slot is filled that another warp still reads",
        edits: &[(
            "        __syncthreads();\n        copy(step + STAGES - 1);\n",
            "        copy(step + STAGES - 1);\n        __syncthreads();\n",
        )],
    },
    Bug {
        name: "copy into the slot in use",
        wrong: "the copies for a later step land in the slot that is read now",
        edits: &[(
            "        copy(step + STAGES - 1);\n",
            "        copy(step + STAGES - 1);\n        copy(step + STAGES);\n",
        )],
    },
    Bug {
        name: "no group for a step without copies",
        wrong: "the wait counts groups, of which the last steps then have too few",
        edits: &[(
            "        }\n        cp_async_commit();\n    };",
            "            cp_async_commit();\n        }\n    };",
        )],
    },
];

const SIMT: &[Bug] = &[
    Bug {
        name: "no barrier before the products",
        wrong: "other threads have not stored their elements yet",
        edits: &[(
            "        __syncthreads();\n#pragma unroll\n        for (int c = 0; c < DEPTH; c++) {",
            "#pragma unroll\n        for (int c = 0; c < DEPTH; c++) {",
        )],
    },
    Bug {
        name: "no barrier behind the products",
        wrong: "elements are overwritten that other threads still read",
        edits: &[("        __syncthreads();\n        if (begin / DEPTH % CHUNK", "        if (begin / DEPTH % CHUNK")],
    },
];
