//! Bugs in kernels that slide windows over codes.

use super::{Bug, Subject, differs, kernel};
use crate::device::Device;
use crate::window::{CONV, DEPTHWISE};
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "conv_mma", source: &CONV, exercise: conv, bugs: CONV_BUGS },
        Subject { name: "depthwise", source: &DEPTHWISE, exercise: depthwise, bugs: DEPTHWISE_BUGS },
    ]
}

/// Seven steps along the sum, which are more than there are slots, and the last of which is in the slot where the codes go;
/// pixels and channels are no whole tiles.
fn conv(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let dims = [("h", 9), ("w", 8), ("c", 96), ("o", 40), ("pad_top", 1), ("pad_bottom", 1), ("pad_right", 2)];
    differs(&*kernel(device, "conv2d.i8")?, "random", &dims, seed)
}

/// More channels than a block takes, and more rows than the ring has.
fn depthwise(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    differs(&*kernel(device, "depthwise.i8")?, "random", &[("h", 8), ("w", 9), ("c", 148), ("pad_left", 1)], seed)
}

const CONV_BUGS: &[Bug] = &[
    Bug {
        name: "no wait for the copies",
        wrong: "pieces are read before they have landed",
        edits: &[("        cp_async_wait<STAGES - 2>();\n", "")],
    },
    Bug {
        name: "wait one group too lax",
        wrong: "the pieces of this step may still be on their way",
        edits: &[("cp_async_wait<STAGES - 2>();", "cp_async_wait<STAGES - 1>();")],
    },
    Bug {
        name: "no barrier in the loop",
        wrong: "a warp waits for its own copies only",
        edits: &[(
            "        cp_async_wait<STAGES - 2>();\n        __syncthreads();\n",
            "        cp_async_wait<STAGES - 2>();\n",
        )],
    },
    Bug {
        name: "copies into the slot in use",
        wrong: "a slot is filled while it is multiplied",
        edits: &[(
            "        copy(step + STAGES - 1);\n        add_products",
            "        copy(step + STAGES - 1 < steps ? step + STAGES : steps);\n        add_products",
        )],
    },
    Bug {
        name: "no commit without copies",
        wrong: "at the end of the sum, waiting for all but so many groups waits for too little",
        edits: &[(
            "        }\n        cp_async_commit();\n    };",
            "            cp_async_commit();\n        }\n    };",
        )],
    },
    Bug {
        name: "no barrier before the codes",
        wrong: "codes overwrite slots that another warp still multiplies",
        edits: &[("    // The slots become room for the codes.\n    __syncthreads();\n", "")],
    },
    Bug {
        name: "no barrier behind the codes",
        wrong: "codes of other warps are read before they are written",
        edits: &[("    __syncthreads();\n    const int rows = min_of", "    const int rows = min_of")],
    },
    Bug {
        name: "padding is zero",
        wrong: "outside the image stands the code of zero, which is not 0",
        edits: &[("fill_shared<WIDTH>(slot, zero)", "fill_shared<WIDTH>(slot, 0)")],
    },
];

const DEPTHWISE_BUGS: &[Bug] = &[
    Bug {
        name: "no barrier behind the weights",
        wrong: "weights that other warps store are read before they are there",
        edits: &[("    __syncthreads();\n\n    const int lane", "\n    const int lane")],
    },
    Bug {
        name: "weights of channels that are not there",
        wrong: "the channels beyond the last have no weights",
        edits: &[("min_of(channels - block, CHUNK)", "CHUNK")],
    },
    Bug {
        name: "no wait for the rows",
        wrong: "rows are read before they have landed",
        edits: &[("        cp_async_wait<AHEAD - 1>();\n", "")],
    },
    Bug {
        name: "wait one group too lax",
        wrong: "the last row of this window may still be on its way",
        edits: &[("cp_async_wait<AHEAD - 1>();", "cp_async_wait<AHEAD>();")],
    },
    Bug {
        name: "no barrier behind the wait",
        wrong: "a thread waits for its own copies alone, and rows are overwritten that another warp still reads",
        edits: &[("cp_async_wait<AHEAD - 1>();\n        __syncthreads();\n", "cp_async_wait<AHEAD - 1>();\n")],
    },
    Bug {
        name: "no group for a row that there is not",
        wrong: "for the last rows, waiting for all but one group waits for too little",
        edits: &[(
            "        }\n        cp_async_commit();\n    };",
            "            cp_async_commit();\n        }\n    };",
        )],
    },
    Bug {
        name: "a ring without room for rows on their way",
        wrong: "the row on its way lands where the window still is",
        edits: &[
            ("ring + row % tiling.ring *", "ring + row % (tiling.ring - AHEAD) *"),
            ("high.dilation) % tiling.ring;", "high.dilation) % (tiling.ring - AHEAD);"),
        ],
    },
    Bug {
        name: "padding is zero",
        wrong: "outside the image stands the code of zero, which is not 0",
        edits: &[("fill_shared<BYTES>(place, zero)", "fill_shared<BYTES>(place, 0)")],
    },
];
