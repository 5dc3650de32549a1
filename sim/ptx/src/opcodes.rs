//! The opcodes that the simulator accepts.

/// The accepted opcodes with the modifiers that make them another instruction, sorted; types, rounding, state spaces
/// and hints are left out. Any other is an error of [`Module::parse`](crate::Module::parse).
///
/// An opcode stands for the forms that NVRTC writes for sm_90a and that the manual of the PTX ISA gives for it; a form
/// beyond those is an error that names its modifier.
pub fn opcodes() -> &'static [&'static str] {
    OPCODES
}

pub(crate) const OPCODES: &[&str] = &[
    "abs",
    "activemask",
    "add",
    "addc",
    "and",
    "applypriority",
    "atom",
    "bar.arrive",
    "bar.red",
    "bar.sync",
    "bar.warp.sync",
    "barrier.arrive",
    "barrier.cluster.arrive",
    "barrier.cluster.wait",
    "barrier.red",
    "barrier.sync",
    "bfe",
    "bfi",
    "bfind",
    "bmsk",
    "bra",
    "brev",
    "brx.idx",
    "call",
    "clz",
    "cnot",
    "copysign",
    "cos",
    "cp.async",
    "cp.async.bulk",
    "cp.async.bulk.commit_group",
    "cp.async.bulk.prefetch",
    "cp.async.bulk.prefetch.tensor",
    "cp.async.bulk.tensor",
    "cp.async.bulk.wait_group",
    "cp.async.commit_group",
    "cp.async.mbarrier.arrive",
    "cp.async.wait_all",
    "cp.async.wait_group",
    "cp.reduce.async.bulk",
    "cp.reduce.async.bulk.tensor",
    "createpolicy",
    "cvt",
    "cvt.pack",
    "cvta",
    "discard",
    "div",
    "dp2a",
    "dp4a",
    "elect.sync",
    "ex2",
    "exit",
    "fence",
    "fma",
    "fns",
    "getctarank",
    "griddepcontrol",
    "isspacep",
    "ld",
    "ldmatrix",
    "ldu",
    "lg2",
    "lop3",
    "mad",
    "mad24",
    "madc",
    "mapa",
    "match.sync",
    "max",
    "mbarrier.arrive",
    "mbarrier.arrive_drop",
    "mbarrier.complete_tx",
    "mbarrier.expect_tx",
    "mbarrier.init",
    "mbarrier.inval",
    "mbarrier.pending_count",
    "mbarrier.test_wait",
    "mbarrier.try_wait",
    "membar",
    "min",
    "mma",
    "mov",
    "movmatrix",
    "mul",
    "mul24",
    "nanosleep",
    "neg",
    "not",
    "or",
    "popc",
    "prefetch",
    "prefetchu",
    "prmt",
    "rcp",
    "red",
    "redux.sync",
    "rem",
    "ret",
    "rsqrt",
    "sad",
    "selp",
    "set",
    "setmaxnreg",
    "setp",
    "shf",
    "shfl.sync",
    "shl",
    "shr",
    "sin",
    "slct",
    "sqrt",
    "st",
    "stmatrix",
    "sub",
    "subc",
    "tanh",
    "testp",
    "trap",
    "vote.sync",
    "wgmma.commit_group",
    "wgmma.fence",
    "wgmma.mma_async",
    "wgmma.wait_group",
    "xor",
];

/// The entry of [`opcodes`] for an opcode as written: the one with the most words, each of which the opcode holds in order.
pub fn family(opcode: &str) -> Option<&'static str> {
    OPCODES
        .iter()
        .filter(|entry| {
            let mut words = opcode.split('.');
            let mut parts = entry.split('.');
            // The first words must be equal; of the others, modifiers may stand between (`match.any.sync`).
            parts.next() == words.next() && parts.all(|part| words.any(|word| word == part))
        })
        .max_by_key(|entry| entry.split('.').count())
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(OPCODES.is_sorted());
    }

    #[test]
    fn the_longest_entry_names_the_family() {
        assert_eq!(family("cp.async.bulk.tensor.2d.shared::cluster.global"), Some("cp.async.bulk.tensor"));
        assert_eq!(family("cp.async.ca.shared.global"), Some("cp.async"));
        assert_eq!(family("match.any.sync.b32"), Some("match.sync"));
        assert_eq!(family("barrier.cluster.arrive.aligned"), Some("barrier.cluster.arrive"));
        assert_eq!(family("tex.2d"), None);
    }
}
