//! Bugs in the kernels of invariant bit packing.

use super::{Bug, Subject, differs, kernel};
use crate::device::Device;
use crate::ibp::IBP;
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![Subject { name: "ibp_unpack", source: &IBP, exercise: unpack, bugs: BUGS }]
}

/// Rows of more than a chunk, which take more lines than a warp has room for.
fn unpack(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let dims = [("rows", 6), ("columns", 1200), ("clusters", 1), ("fetch", 40)];
    differs(&*kernel(device, "ibp_unpack.u32")?, "gaussian", &dims, seed)
}

const BUGS: &[Bug] = &[
    Bug {
        name: "lines are not waited for",
        wrong: "words are read that have not landed",
        edits: &[("if (asked > groups) cp_async_wait<1>();\n        else cp_async_wait<0>();\n", "")],
    },
    Bug {
        name: "one group too few is waited for",
        wrong: "the group that is needed may be the last one asked for",
        edits: &[("else cp_async_wait<0>();", "else cp_async_wait<1>();")],
    },
    Bug {
        name: "no barrier behind the wait",
        wrong: "a lane has waited for its own pieces of a line alone",
        edits: &[("else cp_async_wait<0>();\n        __syncwarp();", "else cp_async_wait<0>();")],
    },
    Bug {
        name: "room is left too early",
        wrong: "words of the group that is read are overwritten",
        edits: &[("byte / (LINES * LINE) + GROUPS &&", "byte / (LINES * LINE) + GROUPS + 1 &&")],
    },
    Bug {
        name: "a chunk begins at a word",
        wrong: "the bits of the word that the last chunk took are read again",
        edits: &[("int place = skip;", "int place = 0;")],
    },
];
