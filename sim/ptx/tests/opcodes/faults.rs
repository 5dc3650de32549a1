//! What a kernel can do wrong, each with the fault that must come of it.

use std::collections::BTreeSet;

use tandem_ptx::FaultKind::{
    self, Barrier, Deadlock, Divergence, InFlight, Limit, Misaligned, Operand, OutOfBounds, Race, Trap, Uninitialised,
    UseAfterFree, Wgmma,
};
use tandem_ptx::{Fault, Launch, Memory, Module, Options, run};

use crate::lanes::{assemble, execute};

fn fault(body: &str, options: &Options) -> Fault {
    let prologue = "setp.ne.u32 %p1, %r20, 0; shr.u32 %r25, %r20, 5;";
    let body = format!("{prologue} {body} mov.u64 %rd10, 0;");
    execute(&assemble(&body), 64, &[0; 64 * 24], 64 * 8, options).expect_err(&body)
}

/// Bodies for two warps, the kind of fault, and a word of its message.
const CASES: &[(&str, FaultKind, &str)] = &[
    ("trap;", Trap, "trap"),
    ("ld.global.u32 %r30, [%rd21+8192];", OutOfBounds, "allocation"),
    ("mov.u64 %rd30, 0; ld.u32 %r30, [%rd30];", OutOfBounds, "below"),
    (".shared .b32 word; mov.u64 %rd30, word; ld.shared.u32 %r30, [%rd30+64];", OutOfBounds, "outside"),
    (".local .b8 depot[8]; mov.u64 %rd30, depot; ld.local.u32 %r30, [%rd30+64];", OutOfBounds, "local"),
    (".shared .b32 word; ld.shared.u32 %r30, [word];", Uninitialised, "written"),
    ("st.param.u32 [in], %r1;", OutOfBounds, "read-only"),
    // The second warp never comes.
    ("setp.eq.u32 %p2, %r25, 0; @%p2 bra WAIT; bra END; WAIT: bar.sync 4, 64; END: bar.sync 5;", Deadlock, "barrier 4"),
    (".shared .align 8 .b64 bar; @%p1 bra A; mbarrier.init.shared.b64 [bar], 2; A: bar.sync 0; @%p1 bra B;
        mbarrier.arrive.shared.b64 _, [bar]; B: W: mbarrier.try_wait.parity.shared.b64 %p2, [bar], 0; @!%p2 bra W;",
        Deadlock, "1 of 2 arrivals"),
    ("bar.sync 16;", Barrier, "0 to 15"),
    ("bar.sync 1, 40;", Barrier, "multiple of 32"),
    (".shared .align 8 .b64 bar; mbarrier.arrive.shared.b64 _, [bar];", Barrier, "no mbarrier"),
    (".shared .align 8 .b64 bar; @%p1 bra A; mbarrier.init.shared.b64 [bar], 1; st.shared.u32 [bar], 0; A:", Barrier, "live"),
    (".shared .align 8 .b64 bar; @%p1 bra A; mbarrier.init.shared.b64 [bar], 0; A:", Barrier, "arrivals"),
    (".shared .align 8 .b64 bar; @%p1 bra A; mbarrier.init.shared.b64 [bar], 1; mbarrier.expect_tx.shared.b64 [bar], 2000000; A:",
        Barrier, "transaction"),
    (".shared .align 8 .b64 bar; mov.u64 %rd30, bar; @%p1 bra A; mbarrier.init.shared.b64 [%rd30+4], 1; A:", Misaligned, "multiple of 8"),
    // Half of a warp waits for the other half, which waits elsewhere.
    ("and.b32 %r30, %r20, 1; setp.eq.u32 %p2, %r30, 1; @%p2 bra ODD; shfl.sync.bfly.b32 %r31, %r1, 1, 31, -1; bra END;
        ODD: bar.warp.sync -1; END:", Divergence, "diverged"),
    ("and.b32 %r30, %r20, 1; setp.eq.u32 %p2, %r30, 1; @%p2 shfl.sync.bfly.b32 %r31, %r1, 1, 31, -1;", Divergence, "predicate"),
    ("vote.sync.any.pred %p2, %p1, 1;", Divergence, "mask"),
    ("and.b32 %r30, %r20, 1; setp.eq.u32 %p2, %r30, 1; @%p2 bar.sync 0;", Divergence, "predicate"),
    // Warps write one word, or read it, and nothing orders them.
    (".shared .b32 word; st.shared.u32 [word], %r25;", Race, "written"),
    (".shared .b32 word; @%p1 bra A; st.shared.u32 [word], 5; A: bar.sync 0; ld.shared.u32 %r30, [word]; @%p1 bra B;
        st.shared.u32 [word], 6; B:", Race, "read"),
    (".shared .align 4 .b8 room[256]; mov.u32 %r30, room; mad.lo.u32 %r31, %r20, 4, %r30; st.shared.u32 [%r31], %r20;
        xor.b32 %r32, %r20, 1; mad.lo.u32 %r32, %r32, 4, %r30; ld.shared.u32 %r33, [%r32];", Race, "__syncwarp"),
    ("mapa.shared::cluster.u32 %r30, %r20, 3;", Operand, "rank"),
    (".shared .align 16 .b8 room[1024]; mov.u32 %r30, room; mad.lo.u32 %r30, %r20, 16, %r30;
        cp.async.cg.shared.global [%r30], [%rd20+8], 16;", Misaligned, "multiple of 16"),
    (".shared .align 16 .b8 room[1024]; mov.u32 %r30, room; mad.lo.u32 %r30, %r20, 16, %r30; and.b64 %rd30, %rd20, -16;
        cp.async.cg.shared.global [%r30], [%rd30], 16; cp.async.commit_group; ld.shared.u32 %r31, [%r30];", InFlight, "copy"),
    (".shared .align 16 .b8 room[64]; mov.u32 %r30, room; @%p1 bra A; st.shared.u32 [%r30], 1; fence.proxy.async; and.b64 %rd30, %rd21, -16;
        cp.async.bulk.global.shared::cta.bulk_group [%rd30], [%r30], 16; st.shared.u32 [%r30], 2; A:", InFlight, "source"),
    ("cp.async.bulk.global.shared::cta.bulk_group [%rd21], [%r20], 12;", Operand, "16"),
    ("barrier.cluster.wait.aligned;", Barrier, "arrived"),
    ("barrier.cluster.arrive.aligned; barrier.cluster.arrive.aligned;", Barrier, "twice"),
    ("wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%f1, %f2, %f3, %f4}, %rd1, %rd2, 1, 1, 1, 0, 0;",
        Wgmma, "four warps"),
    ("L: add.u32 %r30, %r30, 1; bra L;", Limit, "hangs"),
];

#[test]
fn each_mistake_is_found_with_every_seed() {
    for (body, kind, word) in CASES {
        for seed in 0..10 {
            let fault = fault(body, &Options { seed, max_instructions: 100_000, ..Options::default() });
            assert_eq!(fault.kind, *kind, "{body}: {fault}");
            assert!(fault.message.contains(word), "{body}: {fault}");
        }
    }
}

#[test]
fn races_and_uninitialised_reads_are_faults_only_if_asked_for() {
    let body = ".shared .b32 word; ld.shared.u32 %r30, [word]; st.shared.u32 [word], %r25; mov.u64 %rd10, 0;";
    let options = Options { races: false, uninitialised: false, ..Options::default() };
    execute(&assemble(&format!("shr.u32 %r25, %r20, 5; {body}")), 64, &[0; 64 * 24], 64 * 8, &options).unwrap();
}

#[test]
fn freed_memory_is_told_from_memory_that_never_was() {
    let module = Module::parse(&assemble("mov.u64 %rd10, 0;")).unwrap();
    let mut memory = Memory::new();
    let (a, b) = (memory.alloc(24 * 32), memory.alloc(8 * 32));
    memory.free(a).unwrap();
    let params = [a.to_le_bytes(), b.to_le_bytes()].concat();
    let launch = Launch {
        module: &module,
        kernel: "k",
        grid: [1; 3],
        block: [32, 1, 1],
        cluster: [1; 3],
        dynamic_shared: 0,
        cooperative: false,
        params: &params,
    };
    assert_eq!(run(&mut memory, &launch, &Options::default()).unwrap_err().kind, UseAfterFree);
    for (wrong, word) in [
        (Launch { kernel: "other", ..launch }, "no such kernel"),
        (Launch { block: [2048, 1, 1], ..launch }, "threads"),
        (Launch { grid: [0, 1, 1], ..launch }, "blocks"),
        (Launch { cluster: [2, 1, 1], ..launch }, "cluster"),
        (Launch { dynamic_shared: 1 << 20, ..launch }, "shared"),
        (Launch { params: &params[..8], ..launch }, "parameters"),
    ] {
        let fault = run(&mut memory, &wrong, &Options::default()).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Launch);
        assert!(fault.message.contains(word), "{fault}");
    }
}

pub fn all() -> BTreeSet<String> {
    BTreeSet::from([fault("trap;", &Options::default()).instruction.into()])
}
