//! Asynchronous copies.

use std::collections::BTreeSet;

use tandem_ptx::{Asynchrony, FaultKind, Launch, Memory, Module, Options, Swizzle, TensorMap, run};

use crate::lanes::{execute, launch};

/// A kernel of 128 threads over shared memory at `%r6`, with an initialised barrier at `%r8` for one arrival.
fn kernel(body: &str) -> String {
    format!(
        "
.version 9.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out)
{{
	.reg .pred %p<20>;
	.reg .b32 %r<40>;
	.reg .b64 %rd<40>;
	.shared .align 128 .b8 room[4096];
	.shared .align 8 .b64 bar;
	.shared .align 8 .b8 many[16];
	ld.param.u64 %rd1, [in];
	ld.param.u64 %rd2, [out];
	mov.u32 %r1, %tid.x;
	mov.u32 %r6, room;
	mov.u32 %r8, bar;
	setp.ne.u32 %p1, %r1, 0;
	@%p1 bra READY;
	mbarrier.init.shared::cta.b64 [%r8], 1;
	fence.mbarrier_init.release.cluster;
READY:
	bar.sync 0;
	mad.lo.u32 %r7, %r1, 16, %r6;
	mad.wide.u32 %rd3, %r1, 16, %rd1;
	mad.wide.u32 %rd4, %r1, 16, %rd2;
	{body}
	ret;
}}
"
    )
}

const INPUT: usize = 2048;

fn input() -> Vec<u8> {
    (0..INPUT).map(|i| (i * 7 + i / 256) as u8).collect()
}

/// Each thread's 16 bytes go from shared memory to the output.
const GIVE: &str =
    "ld.shared.v4.u32 {%r20, %r21, %r22, %r23}, [%r7]; st.global.v4.u32 [%rd4], {%r20, %r21, %r22, %r23};";

const WAIT: &str = "AGAIN: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r8], 0; @!%p2 bra AGAIN;";

/// A body, and what becomes of byte `i` of the input.
type Case = (String, fn(usize, u8) -> u8);

/// Bodies after which each thread's 16 bytes lie in shared memory, and what becomes of byte `i`.
fn cases() -> Vec<Case> {
    vec![
        ("cp.async.cg.shared.global [%r7], [%rd3], 16; cp.async.commit_group; cp.async.wait_group 0;".into(), |_, b| b),
        ("cp.async.ca.shared.global.L2::128B [%r7], [%rd3], 16; cp.async.wait_all;".into(), |_, b| b),
        (
            "cp.async.ca.shared::cta.global [%r7], [%rd3], 8; cp.async.commit_group;
            cp.async.ca.shared::cta.global [%r7+8], [%rd3+8], 4; cp.async.ca.shared::cta.global [%r7+12], [%rd3+12], 4, 1;
            cp.async.commit_group; cp.async.wait_group 0;"
                .into(),
            |i, b| if i % 16 > 12 { 0 } else { b },
        ),
        // The second half of the threads reads nothing, from an address that is none.
        (
            "setp.gt.u32 %p3, %r1, 63; selp.u32 %r9, 0, 16, %p3; @%p3 mov.u64 %rd3, 16;
            cp.async.cg.shared.global [%r7], [%rd3], 16, %r9; cp.async.wait_all;"
                .into(),
            |i, b| if i < 1024 { b } else { 0 },
        ),
        (
            "setp.gt.u32 %p3, %r1, 63; cp.async.cg.shared.global [%r7], [%rd3], 16, %p3; cp.async.wait_all;".into(),
            |i, b| if i < 1024 { b } else { 0 },
        ),
        // 128 copies and as many arrivals, which the barrier's count of one does not include.
        (
            format!(
                "cp.async.cg.shared.global [%r7], [%rd3], 16; cp.async.mbarrier.arrive.shared.b64 [%r8]; bar.sync 0;
                @%p1 bra OTHERS; mbarrier.arrive.shared.b64 _, [%r8]; OTHERS: {WAIT}"
            ),
            |_, b| b,
        ),
        // The count of one is for the first thread, whose arrival does not raise it; those of the others do.
        (
            format!(
                "cp.async.cg.shared.global [%r7], [%rd3], 16; @!%p1 bra FIRST;
                cp.async.mbarrier.arrive.shared::cta.b64 [%r8]; FIRST: bar.sync 0; @%p1 bra OTHERS;
                cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r8]; OTHERS: {WAIT}"
            ),
            |_, b| b,
        ),
        // A barrier for the arrivals of all 128 threads.
        (
            format!(
                "mov.u32 %r8, many; @%p1 bra MADE; mbarrier.init.shared::cta.b64 [%r8], 128; MADE: bar.sync 0;
                cp.async.cg.shared.global [%r7], [%rd3], 16; cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r8]; {WAIT}"
            ),
            |_, b| b,
        ),
        // The second arrival is for all earlier copies, those before the first too.
        (
            format!(
                "mov.u32 %r8, many; @%p1 bra MADE; mbarrier.init.shared::cta.b64 [%r8], 128;
                mbarrier.init.shared::cta.b64 [%r8+8], 128; MADE: bar.sync 0;
                cp.async.ca.shared.global [%r7], [%rd3], 8; cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r8+8];
                cp.async.ca.shared.global [%r7+8], [%rd3+8], 8; cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r8]; {WAIT}"
            ),
            |_, b| b,
        ),
        // A thread that waits for the group of its copies need not wait for the barrier that is told of them.
        (
            "mov.u32 %r8, many; @%p1 bra MADE; mbarrier.init.shared::cta.b64 [%r8], 128; MADE: bar.sync 0;
            cp.async.cg.shared.global [%r7], [%rd3], 16; cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r8];
            cp.async.commit_group; cp.async.wait_group 0;"
                .into(),
            |_, b| b,
        ),
        (
            format!(
                "@%p1 bra OTHERS; mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r8], {INPUT};
                cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r6], [%rd1], {INPUT}, [%r8];
                OTHERS: {WAIT}"
            ),
            |_, b| b,
        ),
        // From shared memory to shared memory of the cluster, which is the block itself here.
        (
            format!(
                "st.shared.v2.u64 [%r7+2048], {{%rd1, %rd2}}; ld.global.v2.u64 {{%rd20, %rd21}}, [%rd3];
                st.shared.v2.u64 [%r7+2048], {{%rd20, %rd21}}; fence.proxy.async; bar.sync 0; @%p1 bra OTHERS;
                mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r8], {INPUT}; add.u32 %r9, %r6, 2048;
                cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r6], [%r9], {INPUT}, [%r8];
                OTHERS: {WAIT}"
            ),
            |_, b| b,
        ),
    ]
}

/// Bodies that move the input to the output by bulk stores, and what becomes of byte `i`, which was 0.
fn stores() -> Vec<Case> {
    let stage = "ld.global.v2.u64 {%rd20, %rd21}, [%rd3]; st.shared.v2.u64 [%r7], {%rd20, %rd21};
        fence.proxy.async.shared::cta; bar.sync 0; @%p1 bra END;";
    let end = "cp.async.bulk.commit_group; cp.async.bulk.wait_group 0; END:";
    vec![
        (format!("{stage} cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r6], {INPUT}; {end}"), |_, b| b),
        (
            format!(
                "{stage} cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r6], 1024; cp.async.bulk.commit_group;
                cp.async.bulk.wait_group.read 0;
                cp.reduce.async.bulk.global.shared::cta.bulk_group.xor.b64 [%rd2], [%r6], 2048; {end}"
            ),
            |i, b| if i < 1024 { 0 } else { b },
        ),
        (
            format!(
                "{stage} cp.async.bulk.prefetch.L2.global [%rd1], 128;
                cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd2], [%r6], 512; {end}"
            ),
            |i, b| if i < 512 { b } else { 0 },
        ),
    ]
}

fn check(cases: &[Case], give: &str, options: &Options) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (body, want) in cases {
        let (out, stats) = execute(&kernel(&format!("{body} {give}")), 128, &input(), INPUT, options)
            .unwrap_or_else(|f| panic!("seed {}: {body}: {f}", options.seed));
        let want: Vec<u8> = input().iter().enumerate().map(|(i, b)| want(i, *b)).collect();
        assert!(out == want, "seed {}: {body}", options.seed);
        seen.extend(stats.opcodes.into_keys());
    }
    seen
}

/// Loads a box of a tensor, gives it back as it lies, and stores it in another tensor.
fn tensor_kernel(rank: usize, reduce: &str) -> String {
    let list = |first: usize| (0..rank).map(|i| format!("%r{}", first + i)).collect::<Vec<_>>().join(", ");
    let load: String = (0..rank).map(|i| format!("ld.param.u32 %r{}, [at+{}];\n", 10 + i, 4 * i)).collect();
    format!(
        "
.version 9.0
.target sm_90a
.visible .entry k(.param .align 64 .b8 from[128], .param .align 64 .b8 to[128], .param .u64 out, .param .align 4 .b8 at[20],
	.param .u32 bytes)
{{
	.reg .pred %p<4>;
	.reg .b32 %r<40>;
	.reg .b64 %rd<10>;
	.shared .align 1024 .b8 room[8192];
	.shared .align 8 .b64 bar;
	mov.b64 %rd1, from;
	cvta.param.u64 %rd1, %rd1;
	mov.b64 %rd2, to;
	cvta.param.u64 %rd2, %rd2;
	ld.param.u64 %rd3, [out];
	ld.param.u32 %r2, [bytes];
	{load}
	mov.u32 %r6, room;
	mov.u32 %r8, bar;
	mbarrier.init.shared::cta.b64 [%r8], 1;
	fence.mbarrier_init.release.cluster;
	cp.async.bulk.prefetch.tensor.{rank}d.L2.global.tile [%rd1, {{{}}}];
	prefetch.tensormap [%rd1];
	mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r8], %r2;
	cp.async.bulk.tensor.{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r6], [%rd1, {{{}}}], [%r8];
A:
	mbarrier.try_wait.parity.shared::cta.b64 %p1, [%r8], 0;
	@!%p1 bra A;
	cp.{}async.bulk.tensor.{rank}d.global.shared::cta{}.tile.bulk_group [%rd2, {{{}}}], [%r6];
	cp.async.bulk.commit_group;
	mov.u32 %r3, 0;
B:
	add.u32 %r4, %r6, %r3;
	ld.shared.u32 %r5, [%r4];
	cvt.u64.u32 %rd4, %r3;
	add.u64 %rd5, %rd3, %rd4;
	st.global.u32 [%rd5], %r5;
	add.u32 %r3, %r3, 4;
	setp.lt.u32 %p2, %r3, %r2;
	@%p2 bra B;
	cp.async.bulk.wait_group 0;
	ret;
}}
",
        list(10),
        list(10),
        if reduce.is_empty() { "" } else { "reduce." },
        if reduce.is_empty() { String::new() } else { format!(".{reduce}") },
        list(10),
    )
}

struct Tensor<'a> {
    extents: &'a [usize],
    tile: &'a [usize],
    at: &'a [i32],
    swizzle: Swizzle,
    reduce: &'a str,
}

/// Runs a box of 16-bit elements through the tensor kernel; checks shared memory's image and the other tensor.
fn tensor(t: &Tensor<'_>, options: &Options) -> BTreeSet<String> {
    let module = Module::parse(&tensor_kernel(t.extents.len(), t.reduce)).unwrap_or_else(|e| panic!("{e}"));
    let mut memory = Memory::new();
    // Rows are padded to 16 bytes.
    let row = t.extents[0].next_multiple_of(8);
    let mut strides = vec![row];
    for e in t.extents.iter().skip(1) {
        strides.push(strides[strides.len() - 1] * e);
    }
    strides.truncate(t.extents.len() - 1);
    let total = strides.last().map_or(row, |s| s * t.extents[t.extents.len() - 1]);
    let values: Vec<u16> = (0..total).map(|i| (i * 3 + 1) as u16).collect();
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let (from, to) = (memory.alloc(bytes.len() as u64), memory.alloc(bytes.len() as u64));
    memory.write(from, &bytes).unwrap();
    memory.write(to, &vec![0; bytes.len()]).unwrap();
    let wide: Vec<u64> = t.extents.iter().map(|e| *e as u64).collect();
    let step: Vec<u64> = strides.iter().map(|s| 2 * *s as u64).collect();
    let tile: Vec<u32> = t.tile.iter().map(|b| *b as u32).collect();
    let map = |address| TensorMap::tiled(2, t.extents.len() as u32, address, &wide, &step, &tile, t.swizzle).unwrap();
    let size = 2 * t.tile.iter().product::<usize>();
    let image = memory.alloc(size as u64);
    let mut params = [map(from), map(to)].concat();
    params.extend(image.to_le_bytes());
    params.extend((0..5).flat_map(|i| t.at.get(i).copied().unwrap_or(0).to_le_bytes()));
    params.extend((size as u32).to_le_bytes());
    let launch = Launch {
        module: &module,
        kernel: "k",
        grid: [1; 3],
        block: [1; 3],
        cluster: [1; 3],
        dynamic_shared: 0,
        cooperative: false,
        params: &params,
    };
    let stats = run(&mut memory, &launch, options).unwrap_or_else(|f| panic!("{f}"));
    // Element `i` of the box, or none where it lies outside the tensor.
    let element = |i: usize| {
        let (mut rest, mut offset) = (i, 0);
        for d in 0..t.extents.len() {
            let at = t.at[d] as i64 + (rest % t.tile[d]) as i64;
            rest /= t.tile[d];
            if !(0..t.extents[d] as i64).contains(&at) {
                return None;
            }
            offset += at as usize * if d == 0 { 1 } else { strides[d - 1] };
        }
        Some(offset)
    };
    let mut have = vec![0; size];
    memory.read(image, &mut have).unwrap();
    for i in 0..size / 2 {
        let want = element(i).map_or(0, |o| values[o]);
        // The shared address starts at a multiple of 1024, so its bits are those of the offset.
        let byte = 2 * i;
        let chunk = byte / 16;
        let lines = byte / 128;
        let moved = match t.swizzle {
            Swizzle::None => chunk,
            Swizzle::B32 => chunk ^ (lines & 1),
            Swizzle::B64 => chunk ^ (lines & 3),
            Swizzle::B128 => chunk ^ (lines & 7),
        };
        let at = moved * 16 + byte % 16;
        assert_eq!(u16::from_le_bytes([have[at], have[at + 1]]), want, "element {i}");
    }
    let mut copy = vec![0; bytes.len()];
    memory.read(to, &mut copy).unwrap();
    let mut want = vec![0u16; total];
    (0..size / 2).filter_map(element).for_each(|o| want[o] = values[o]);
    assert!(copy.chunks(2).zip(&want).all(|(c, w)| u16::from_le_bytes([c[0], c[1]]) == *w));
    stats.opcodes.into_keys().collect()
}

const TENSORS: &[Tensor<'static>] = &[
    Tensor { extents: &[100], tile: &[64], at: &[60], swizzle: Swizzle::None, reduce: "" },
    Tensor { extents: &[200, 20], tile: &[64, 16], at: &[-8, 10], swizzle: Swizzle::B128, reduce: "" },
    Tensor { extents: &[50, 20], tile: &[32, 16], at: &[24, -3], swizzle: Swizzle::B64, reduce: "" },
    Tensor { extents: &[50, 20], tile: &[16, 16], at: &[8, 2], swizzle: Swizzle::B32, reduce: "or" },
    Tensor { extents: &[24, 5, 6], tile: &[16, 3, 4], at: &[16, -1, 3], swizzle: Swizzle::None, reduce: "" },
    Tensor { extents: &[8, 5, 4, 3], tile: &[8, 2, 3, 2], at: &[0, 4, 2, 1], swizzle: Swizzle::None, reduce: "xor" },
    Tensor {
        extents: &[8, 3, 4, 3, 2],
        tile: &[8, 2, 3, 2, 2],
        at: &[0, 1, -1, 2, 0],
        swizzle: Swizzle::None,
        reduce: "",
    },
];

pub fn all() -> BTreeSet<String> {
    let options = Options::default();
    let mut seen = check(&cases(), GIVE, &options);
    seen.extend(check(&stores(), "", &options));
    seen.extend(TENSORS.iter().flat_map(|t| tensor(t, &options)));
    seen
}

fn modes() -> impl Iterator<Item = Options> {
    let eager = Options { asynchrony: Asynchrony::Eager, ..Options::default() };
    std::iter::once(eager).chain((0..5).map(|seed| Options { seed, ..Options::default() }))
}

#[test]
fn copies_to_shared_memory_land_by_the_time_they_are_waited_for() {
    modes().for_each(|options| drop(check(&cases(), GIVE, &options)));
}

#[test]
fn bulk_stores_and_reductions_reach_global_memory() {
    modes().for_each(|options| drop(check(&stores(), "", &options)));
}

#[test]
fn boxes_of_one_to_five_dimensions_are_cut_at_the_edges_and_swizzled() {
    for options in modes() {
        TENSORS.iter().for_each(|t| drop(tensor(t, &options)));
    }
}

#[test]
fn a_descriptor_of_another_maker_is_a_fault() {
    let text = kernel(
        "@%p1 bra END; cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%r6], [%rd1, {%r1}], [%r8]; END:",
    );
    let fault = execute(&text, 128, &input(), INPUT, &Options::default()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::Operand);
    assert!(fault.message.contains("TensorMap"), "{fault}");
}

/// Bodies that wait for too little, or for what does not come, and what must be found with some seed.
const EARLY: &[(&str, FaultKind)] = &[
    // The copies are read before the barrier's phase, of a count that leaves the arrivals out, has passed.
    (
        "cp.async.cg.shared.global [%r7], [%rd3], 16; cp.async.mbarrier.arrive.shared::cta.b64 [%r8];",
        FaultKind::InFlight,
    ),
    // The newest group may still be pending, whether a barrier is told of its copies or not.
    (
        "cp.async.ca.shared.global [%r7], [%rd3], 8; cp.async.commit_group;
        cp.async.ca.shared.global [%r7+8], [%rd3+8], 8; cp.async.commit_group;
        cp.async.mbarrier.arrive.shared::cta.b64 [%r8]; cp.async.wait_group 1;",
        FaultKind::InFlight,
    ),
    // Arrivals that raise the count themselves leave that of the barrier, 128, to others.
    (
        "mov.u32 %r8, many; @%p1 bra MADE; mbarrier.init.shared::cta.b64 [%r8], 128; MADE: bar.sync 0;
        cp.async.cg.shared.global [%r7], [%rd3], 16; cp.async.mbarrier.arrive.shared::cta.b64 [%r8];
        A: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r8], 0; @!%p2 bra A;",
        FaultKind::Deadlock,
    ),
];

#[test]
fn copies_that_a_barrier_is_told_of_are_late_until_it_or_their_group_is_waited_for() {
    for (body, kind) in EARLY {
        let found = (0..10).filter(|seed| {
            let options = Options { seed: *seed, ..Options::default() };
            let fault = execute(&kernel(&format!("{body} {GIVE}")), 128, &input(), INPUT, &options);
            fault.is_err_and(|f| f.kind == *kind)
        });
        assert!(found.count() > 0, "{body}");
    }
}

#[test]
fn a_copy_of_one_thread_stays_in_its_block() {
    // Block 1 of the cluster gives an address of block 0.
    let remote = "mapa.shared::cluster.u32 %r9, %r7, 0; mapa.shared::cluster.u32 %r10, %r8, 0;";
    for body in [
        "cp.async.cg.shared.global [%r9], [%rd3], 16; cp.async.wait_all;",
        "cp.async.cg.shared.global [%r7], [%rd3], 16; cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%r10];",
    ] {
        let text = kernel(&format!("{remote} {body} barrier.cluster.arrive; barrier.cluster.wait;"));
        for options in modes() {
            let fault = launch(&text, [2, 1, 1], 128, 2, 0, &input(), INPUT, &options).expect_err(body);
            assert_eq!((fault.kind, fault.block), (FaultKind::OutOfBounds, Some([1, 0, 0])), "{fault}");
            assert!(fault.message.contains("own block"), "{fault}");
        }
    }
}
