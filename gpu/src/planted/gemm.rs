//! Bugs in the matrix products.

use super::{Bug, Subject};
use crate::device::Device;
use crate::gemm::{self, HOPPER, MMA, Path, Wish};
use tandem_ops::OpError;
use tandem_ops::def::{Dims, accept};

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
    check(device, "gemm.bf16", [136, 136, 320], wish, seed)
}

fn tma_cluster(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let wish = Wish { path: Some(Path::Tma), tile_n: Some(128), splits: Some(1), cluster: Some(2) };
    check(device, "gemm.bf16", [136, 136, 320], wish, seed)
}

fn mma(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let wish = Wish { path: Some(Path::Mma), tile_n: Some(64), splits: Some(1), ..Wish::default() };
    check(device, "gemm.bf16", [70, 60, 328], wish, seed)
}

fn simt(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    check(device, "gemm.f32", [70, 60, 50], Wish::default(), seed)
}

fn check(device: &Device, name: &str, [m, n, k]: [usize; 3], wish: Wish, seed: u64) -> Result<Option<String>, OpError> {
    let operation =
        tandem_ops::operation(name).ok_or_else(|| OpError::Invalid(format!("there is no operation {name}")))?;
    let dims = Dims::defaults(operation.def().axes).with("m", m).with("n", n).with("k", k);
    let inputs = operation.sample("random", &dims, seed)?;
    let dims = accept(operation, &dims, &inputs)?;
    let found = gemm::run(device, operation, &dims, &inputs, wish)?;
    let expected = operation.reference(&dims, &inputs)?;
    let agreement = operation.def().agree.compare(found.get("out")?, expected.get("out")?);
    Ok((!operation.def().agree.allows(&agreement)).then(|| format!("out is wrong: {agreement:?}")))
}

const TMA: &[Bug] = &[
    Bug {
        name: "no wait for the last products",
        wrong: "results are taken from registers that wgmma still writes",
        missed: None,
        edits: &[("            wgmma_wait<0>();\n", "")],
    },
    Bug {
        name: "slot released before the wait",
        wrong: "the producer may overwrite a slot that wgmma still reads",
        missed: None,
        edits: &[("                wgmma_wait<1>();\n", "")],
    },
    Bug {
        name: "slot of this step released",
        wrong: "the wait is for the products of the step before, not for these",
        missed: None,
        edits: &[(
            "if (previous >= 0) release(empty + previous * 8, lane);",
            "if (previous >= 0) release(empty + stage * 8, lane);",
        )],
    },
    Bug {
        name: "wait one group too lax",
        wrong: "the slot that is released is still read by the group before",
        missed: None,
        edits: &[("                wgmma_wait<1>();\n", "                wgmma_wait<2>();\n")],
    },
    Bug {
        name: "products in no group",
        wrong: "without a commit, a wait waits for nothing",
        missed: None,
        edits: &[("                wgmma_commit();\n", "")],
    },
    Bug {
        name: "no wgmma.fence",
        wrong: "the registers of sums are written by other instructions before, unordered with wgmma",
        missed: None,
        edits: &[("                wgmma_fence();\n", "")],
    },
    Bug {
        name: "one arrival a warpgroup",
        wrong: "the other warps may still read the slot that one of them releases",
        missed: None,
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
        missed: None,
        edits: &[("A_BYTES + B_BYTES);", "A_BYTES);")],
    },
    Bug {
        name: "no wait for a full slot",
        wrong: "the slot is read before the copies have landed",
        missed: None,
        edits: &[("                mbarrier_wait(full + stage * 8, phase);\n", "")],
    },
    Bug {
        name: "no wait for an empty slot",
        wrong: "a slot is overwritten that is still read",
        missed: None,
        edits: &[("                    mbarrier_wait(empty + stage * 8, phase ^ 1);\n", "")],
    },
    Bug {
        name: "first phase of the producer wrong",
        wrong: "the producer waits for slots that nobody has had yet",
        missed: None,
        edits: &[("mbarrier_wait(empty + stage * 8, phase ^ 1);", "mbarrier_wait(empty + stage * 8, phase);")],
    },
    Bug {
        name: "phase of the consumers never changes",
        wrong: "in the second turn, the completion of the first is taken for that of the second",
        missed: None,
        edits: &[(
            "                    stage = 0;\n                    phase ^= 1;\n",
            "                    stage = 0;\n",
        )],
    },
    Bug {
        name: "phase of the consumers changes every step",
        wrong: "a wait for the phase that is not yet, or long gone",
        missed: None,
        edits: &[(
            "                previous = stage;\n",
            "                previous = stage;\n                phase ^= 1;\n",
        )],
    },
    Bug {
        name: "no fence behind the initialisation of barriers",
        wrong: "the copies' completion may find barriers that are not initialised",
        missed: None,
        edits: &[("        fence_mbarrier_init();\n", "")],
    },
    Bug {
        name: "no barrier behind the initialisation of barriers",
        wrong: "other warps use barriers that are not initialised",
        missed: None,
        edits: &[("    else __syncthreads();\n", "    else {}\n")],
    },
    Bug {
        name: "no proxy fence before the copy out",
        wrong: "TMA may read shared memory before what was stored is visible to it",
        missed: None,
        edits: &[("                    fence_proxy_async();\n", "")],
    },
    Bug {
        name: "no barrier before the copy out",
        wrong: "other warps have not stored their rows yet",
        missed: None,
        edits: &[(
            "fence_proxy_async();\n                    named_barrier(1 + consumer, 128);\n",
            "fence_proxy_async();\n",
        )],
    },
    Bug {
        name: "no wait before a chunk is used again",
        wrong: "the copy out two turns before may still read it",
        missed: None,
        edits: &[("                    if (threadIdx.x % 128 == 0) bulk_wait_read<1>();\n", "")],
    },
    Bug {
        name: "wait before a chunk is used again too lax",
        wrong: "one copy more than there is a chunk for may be under way",
        missed: None,
        edits: &[("bulk_wait_read<1>();", "bulk_wait_read<2>();")],
    },
    Bug {
        name: "block ends before its copies out",
        wrong: "shared memory is gone before it has been read",
        missed: None,
        edits: &[("        if (threadIdx.x % 128 == 0) bulk_wait<0>();\n", "")],
    },
];

const CLUSTER: &[Bug] = &[
    Bug {
        name: "slot released in the own block alone",
        wrong: "the other block copies into a slot that is still read here",
        missed: None,
        edits: &[
            ("mbarrier_init(empty + i * 8, CONSUMERS * 4 * CLUSTER);", "mbarrier_init(empty + i * 8, CONSUMERS * 4);"),
            ("if (lane < CLUSTER) mbarrier_arrive_cluster(empty, lane);", "if (lane == 0) mbarrier_arrive(empty);"),
        ],
    },
    Bug {
        name: "no cluster barrier at the beginning",
        wrong: "the other block's barriers may not be initialised yet",
        missed: None,
        edits: &[("    if (CLUSTER > 1) cluster_sync();\n", "    if (CLUSTER > 1) __syncthreads();\n")],
    },
    Bug {
        name: "no cluster barrier at the end",
        wrong: "the other block arrives at barriers of a block that is gone",
        missed: None,
        edits: &[("        __syncwarp();\n        cluster_sync();\n", "        __syncwarp();\n")],
    },
];

const MMA_BUGS: &[Bug] = &[
    Bug {
        name: "wait one group too lax",
        wrong: "the copies of this step may be under way",
        missed: None,
        edits: &[("cp_async_wait<STAGES - 2>();", "cp_async_wait<STAGES - 1>();")],
    },
    Bug {
        name: "no wait for the copies",
        wrong: "the slot is read before the copies have landed",
        missed: None,
        edits: &[("        cp_async_wait<STAGES - 2>();\n", "")],
    },
    Bug {
        name: "no barrier behind the wait",
        wrong: "a thread waits for its own copies alone, and a slot is filled that another warp still reads",
        missed: None,
        edits: &[(
            "        cp_async_wait<STAGES - 2>();\n        __syncthreads();\n",
            "        cp_async_wait<STAGES - 2>();\n",
        )],
    },
    Bug {
        name: "barrier before the wait",
        wrong: "the copies of other threads may not have landed",
        missed: None,
        edits: &[(
            "        cp_async_wait<STAGES - 2>();\n        __syncthreads();\n",
            "        __syncthreads();\n        cp_async_wait<STAGES - 2>();\n",
        )],
    },
    Bug {
        name: "copy before the barrier",
        wrong: "the slot is filled that another warp still reads",
        missed: None,
        edits: &[(
            "        __syncthreads();\n        copy(step + STAGES - 1);\n",
            "        copy(step + STAGES - 1);\n        __syncthreads();\n",
        )],
    },
    Bug {
        name: "copy into the slot in use",
        wrong: "the copies for a later step land in the slot that is read now",
        missed: None,
        edits: &[(
            "        copy(step + STAGES - 1);\n",
            "        copy(step + STAGES - 1);\n        copy(step + STAGES);\n",
        )],
    },
    Bug {
        name: "no group for a step without copies",
        wrong: "the wait counts groups, of which the last steps then have too few",
        missed: None,
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
        missed: None,
        edits: &[(
            "        __syncthreads();\n#pragma unroll\n        for (int c = 0; c < DEPTH; c++) {",
            "#pragma unroll\n        for (int c = 0; c < DEPTH; c++) {",
        )],
    },
    Bug {
        name: "no barrier behind the products",
        wrong: "elements are overwritten that other threads still read",
        missed: None,
        edits: &[("            }\n        }\n        __syncthreads();\n    }\n", "            }\n        }\n    }\n")],
    },
];
