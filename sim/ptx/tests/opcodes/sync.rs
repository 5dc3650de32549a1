//! Collectives of a warp, barriers, `mbarrier` objects, branches and calls.

use std::collections::BTreeSet;

use tandem_ptx::{Asynchrony, Options};

use crate::lanes::{COUNT, Triple, execute, launch, results, triples, words};

/// Instructions and what a warp's 32 lanes must get from their operands.
type WarpCase = (&'static str, fn(&[Triple]) -> Vec<u64>);

fn each(f: impl Fn(usize) -> u64) -> Vec<u64> {
    (0..32).map(f).collect()
}

fn low(lanes: &[Triple], lane: usize) -> u64 {
    lanes[lane][0] & 0xffff_ffff
}

fn ballot(lanes: &[Triple], yes: impl Fn(u64) -> bool) -> u64 {
    (0..32).filter(|l| yes(low(lanes, *l))).fold(0, |m, l| m | 1 << l)
}

const COLLECTIVES: &[WarpCase] = &[
    ("shfl.sync.bfly.b32 %r10, %r1, 5, 31, 0xffffffff;", |v| each(|l| low(v, l ^ 5))),
    ("shfl.sync.idx.b32 %r10, %r1, 9, 31, -1;", |v| each(|_| low(v, 9))),
    ("shfl.sync.down.b32 %r10|%p1, %r1, 3, 31, -1; @!%p1 mov.u32 %r10, 0;", |v| {
        each(|l| if l + 3 < 32 { low(v, l + 3) } else { 0 })
    }),
    ("shfl.sync.up.b32 %r10|%p1, %r1, 3, 0, -1; @!%p1 mov.u32 %r10, 0;", |v| {
        each(|l| if l >= 3 { low(v, l - 3) } else { 0 })
    }),
    // Within segments of eight lanes.
    ("shfl.sync.idx.b32 %r10, %r1, 2, 0x181f, -1;", |v| each(|l| low(v, l / 8 * 8 + 2))),
    ("shfl.sync.down.b32 %r10|%p1, %r1, 1, 0x1807, -1; @!%p1 mov.u32 %r10, 7;", |v| {
        each(|l| if l % 8 < 7 { low(v, l + 1) } else { 7 })
    }),
    ("vote.sync.ballot.b32 %r10, %p2, -1;", |v| each(|_| ballot(v, |x| x & 1 == 1))),
    ("vote.sync.any.pred %p10, %p2, -1;", |v| each(|_| u64::from(ballot(v, |x| x & 1 == 1) != 0))),
    ("vote.sync.all.pred %p10, !%p2, -1;", |v| each(|_| u64::from(ballot(v, |x| x & 1 == 1) == 0))),
    ("vote.sync.uni.pred %p10, %p2, -1;", |v| {
        each(|_| u64::from([0, 0xffff_ffff].contains(&ballot(v, |x| x & 1 == 1))))
    }),
    ("and.b32 %r11, %r1, 3; match.any.sync.b32 %r10, %r11, -1;", |v| each(|l| ballot(v, |x| x & 3 == low(v, l) & 3))),
    ("and.b64 %rd11, %rd1, 0; match.all.sync.b64 %r10|%p1, %rd11, -1;", |_| each(|_| 0xffff_ffff)),
    ("match.all.sync.b32 %r10|%p10, %r1, -1;", |_| each(|_| 0)),
    ("redux.sync.add.u32 %r10, %r1, -1;", |v| each(|_| (0..32).map(|l| low(v, l)).sum::<u64>() & 0xffff_ffff)),
    ("redux.sync.min.s32 %r10, %r1, -1;", |v| each(|_| (0..32).map(|l| low(v, l) as i32).min().unwrap() as u32 as u64)),
    ("redux.sync.max.u32 %r10, %r1, -1;", |v| each(|_| (0..32).map(|l| low(v, l)).max().unwrap())),
    ("redux.sync.xor.b32 %r10, %r1, -1;", |v| each(|_| (0..32).fold(0, |s, l| s ^ low(v, l)))),
    ("redux.sync.and.b32 %r10, %r1, -1;", |v| each(|_| (0..32).fold(0xffff_ffff, |s, l| s & low(v, l)))),
    ("redux.sync.or.b32 %r10, %r1, -1;", |v| each(|_| (0..32).fold(0, |s, l| s | low(v, l)))),
    ("elect.sync %r11|%p10, 0xffffffff;", |_| each(|l| u64::from(l == 0))),
    ("activemask.b32 %r10;", |_| each(|_| 0xffff_ffff)),
    // Lanes with odd operands alone.
    ("mov.u32 %r10, 0; vote.sync.ballot.b32 %r11, %p2, -1; @%p2 redux.sync.add.u32 %r10, 1, %r11;", |v| {
        let odd = ballot(v, |x| x & 1 == 1);
        each(|l| if odd >> l & 1 == 1 { odd.count_ones().into() } else { 0 })
    }),
    // Both sides of a branch meet again at the shuffle.
    (
        "mov.u32 %r11, %r1; @%p2 bra ODD; add.u32 %r11, %r11, 1; bra JOIN; ODD: add.u32 %r11, %r11, 2;
        JOIN: bar.warp.sync -1; shfl.sync.bfly.b32 %r10, %r11, 1, 31, -1;",
        |v| each(|l| (low(v, l ^ 1) + 1 + (low(v, l ^ 1) & 1)) & 0xffff_ffff),
    ),
    ("mov.u32 %r10, %laneid;", |_| each(|l| l as u64)),
    (
        "mov.u32 %r11, %lanemask_lt; mov.u32 %r12, %lanemask_ge; xor.b32 %r11, %r11, %r12; add.u32 %r10, %r11, 1;",
        |_| each(|_| 0),
    ),
    (
        "mov.u32 %r11, %lanemask_le; mov.u32 %r12, %lanemask_gt; mov.u32 %r13, %lanemask_eq; not.b32 %r12, %r12;
        xor.b32 %r11, %r11, %r12; add.u32 %r10, %r11, %r13;",
        |_| each(|l| 1 << l),
    ),
    ("mov.u64 %rd11, %clock64; nanosleep.u32 20; mov.u64 %rd12, %clock64; setp.gt.u64 %p10, %rd12, %rd11;", |_| {
        each(|_| 1)
    }),
    ("mov.u64 %rd11, %globaltimer; setp.ne.u64 %p10, %rd11, 0;", |_| each(|_| 1)),
];

fn collectives() -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let operands = triples(&[]);
    for (body, want) in COLLECTIVES {
        let body = format!("and.b32 %r30, %r1, 1; setp.eq.u32 %p2, %r30, 1; {body}");
        let have = results(&body, &operands, &mut seen);
        let want: Vec<u64> = operands.chunks(32).flat_map(want).collect();
        assert_eq!(have, want, "{body}");
    }
    seen
}

/// A kernel over 128 threads that writes one word for each: its declarations and its body, which sets `%r10`.
fn kernel(declarations: &str, body: &str) -> String {
    format!(
        "
.version 9.0
.target sm_90a
.address_size 64
{declarations}
.visible .entry k(.param .u64 in, .param .u64 out)
{{
	.reg .pred %p<20>;
	.reg .b32 %r<40>;
	.reg .b64 %rd<40>;
	.shared .align 16 .b8 room[1024];
	.shared .align 8 .b64 bar;
	ld.param.u64 %rd1, [out];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, %ctaid.x;
	mov.u32 %r3, %ntid.x;
	mad.lo.u32 %r4, %r2, %r3, %r1;
	mad.wide.u32 %rd1, %r4, 4, %rd1;
	shr.u32 %r5, %r1, 5;
	mov.u32 %r6, room;
	mad.lo.u32 %r7, %r1, 4, %r6;
	mov.u32 %r8, bar;
	{body}
	st.global.u32 [%rd1], %r10;
	ret;
}}
"
    )
}

/// Declarations, body, and what thread `t` of 128 must get.
type BlockCase = (&'static str, &'static str, fn(u32) -> u32);

const BLOCKS: &[BlockCase] = &[
    // Each reads what the thread 127 − t wrote.
    (
        "",
        "st.shared.u32 [%r7], %r1; bar.sync 0; sub.u32 %r9, 127, %r1; mad.lo.u32 %r9, %r9, 4, %r6; ld.shared.u32 %r10, [%r9];",
        |t| 127 - t,
    ),
    (
        "",
        "st.shared.u32 [%r7], %r1; barrier.sync 3, 128; xor.b32 %r9, %r1, 64; mad.lo.u32 %r9, %r9, 4, %r6;
        ld.shared.u32 %r10, [%r9]; barrier.cta.sync.aligned 3;",
        |t| t ^ 64,
    ),
    // Warps 0 and 1 give to warps 2 and 3, which alone wait.
    (
        "",
        "setp.lt.u32 %p1, %r5, 2; @%p1 bra GIVE; bar.sync 1, 128; sub.u32 %r9, %r7, 256; ld.shared.u32 %r10, [%r9]; bra DONE;
        GIVE: add.u32 %r10, %r1, 5; st.shared.u32 [%r7], %r10; bar.arrive 1, 128; DONE:",
        |t| t % 64 + 5,
    ),
    (
        "",
        "setp.lt.u32 %p1, %r5, 2; @%p1 bra GIVE; barrier.sync 1, 128; sub.u32 %r9, %r7, 256; ld.shared.u32 %r10, [%r9]; bra DONE;
        GIVE: mov.u32 %r10, %r1; st.shared.u32 [%r7], %r10; barrier.arrive 1, 128; DONE:",
        |t| t % 64,
    ),
    ("", "setp.lt.u32 %p1, %r1, 50; bar.red.popc.u32 %r10, 0, %p1;", |_| 50),
    ("", "setp.lt.u32 %p1, %r1, 50; barrier.cta.red.popc.aligned.u32 %r10, 2, 128, !%p1;", |_| 78),
    ("", "setp.lt.u32 %p1, %r1, 128; bar.red.and.pred %p2, 0, %p1; selp.u32 %r10, 3, 4, %p2;", |_| 3),
    ("", "setp.eq.u32 %p1, %r1, 77; bar.red.or.pred %p2, 0, %p1; bar.red.and.pred %p3, 0, %p1; selp.u32 %r9, 1, 0, %p2;
        selp.u32 %r10, 8, 0, %p3; add.u32 %r10, %r10, %r9;", |_| 1),
    // One phase of all threads, by the state that an arrival returns.
    (
        "",
        "setp.ne.u32 %p1, %r1, 0; @%p1 bra READY; mbarrier.init.shared.b64 [%r8], 128; READY: bar.sync 0;
        st.shared.u32 [%r7], %r1; mbarrier.arrive.release.cta.shared::cta.b64 %rd2, [%r8];
        AGAIN: mbarrier.test_wait.acquire.cta.shared::cta.b64 %p2, [%r8], %rd2; @!%p2 bra AGAIN;
        xor.b32 %r9, %r1, 32; mad.lo.u32 %r9, %r9, 4, %r6; ld.shared.u32 %r10, [%r9];
        bar.sync 0; @%p1 bra DONE; mbarrier.inval.shared.b64 [%r8]; DONE:",
        |t| t ^ 32,
    ),
    // Thread 0 arrives for all but itself, waits by parity, and bytes are expected and completed by hand.
    (
        "",
        "setp.ne.u32 %p1, %r1, 0; @%p1 bra READY; mbarrier.init.shared::cta.b64 [%r8], 4;
        mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r8], 64; mbarrier.arrive.noComplete.shared.b64 %rd2, [%r8], 3;
        mbarrier.complete_tx.relaxed.cluster.shared::cluster.b64 [%r8], 64; mbarrier.arrive.shared.b64 %rd3, [%r8];
        mbarrier.pending_count.b64 %r11, %rd3; READY: bar.sync 0;
        AGAIN: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r8], 0, 1000; @!%p2 bra AGAIN;
        mov.u32 %r10, 1; @!%p1 mov.u32 %r10, %r11;",
        |_| 1,
    ),
    // A dropped arrival is missing from the second phase too.
    (
        "",
        "mov.u32 %r10, 6; setp.ne.u32 %p1, %r1, 0; @%p1 bra DONE; mbarrier.init.shared.b64 [%r8], 2;
        mbarrier.arrive_drop.shared.b64 %rd2, [%r8]; mbarrier.arrive.shared.b64 _, [%r8]; mbarrier.arrive.shared.b64 _, [%r8];
        A: mbarrier.test_wait.parity.shared.b64 %p2, [%r8], 1; @!%p2 bra A; DONE:",
        |_| 6,
    ),
    ("", "membar.cta; membar.gl; membar.sys; fence.sc.gpu; fence.acq_rel.cluster; fence.proxy.alias; fence.proxy.async.global;
        griddepcontrol.wait; griddepcontrol.launch_dependents; mov.u32 %r10, 1;", |_| 1),
    ("", "setmaxnreg.dec.sync.aligned.u32 24; setmaxnreg.inc.sync.aligned.u32 240; mov.u32 %r10, %nwarpid;", |_| 4),
    // Lanes go four ways and come back.
    (
        "",
        "and.b32 %r9, %r1, 3; LIST: .branchtargets A, B, C, D; brx.idx %r9, LIST; A: mov.u32 %r10, 11; bra.uni JOIN;
        B: mov.u32 %r10, 22; bra.uni JOIN; C: mov.u32 %r10, 33; bra.uni JOIN; D: mov.u32 %r10, 44; JOIN:",
        |t| (t % 4 + 1) * 11,
    ),
    // Loops of as many rounds as the lane's number.
    ("", "mov.u32 %r10, 0; mov.u32 %r9, 0; L: setp.ge.u32 %p1, %r9, %r1; @%p1 bra E; add.u32 %r10, %r10, %r9;
        add.u32 %r9, %r9, 1; bra L; E:", |t| t * t.wrapping_sub(1) / 2 * u32::from(t > 0)),
    // A function called twice, whose own registers and labels are each time new.
    (
        ".func (.param .b32 r) twice(.param .b32 a, .param .b64 b) { .reg .b32 %r<4>; .reg .pred %p<2>; .reg .b64 %rd<2>;
            ld.param.b32 %r1, [a]; ld.param.b64 %rd1, [b]; cvt.u32.u64 %r3, %rd1; setp.lt.u32 %p1, %r1, 64; @%p1 bra SMALL;
            st.param.b32 [r+0], %r3; ret; SMALL: add.u32 %r2, %r1, %r1; st.param.b32 [r+0], %r2; ret; }",
        "{ .param .b32 x; st.param.b32 [x+0], %r1; .param .b64 y; st.param.b64 [y+0], 9; .param .b32 z;
        call.uni (z), twice, (x, y); ld.param.b32 %r11, [z+0]; }
        { .param .b32 x; st.param.b32 [x+0], %r11; .param .b64 y; st.param.b64 [y+0], 100; .param .b32 z;
        call (z), twice, (x, y); ld.param.b32 %r10, [z+0]; }",
        |t| match if t < 64 { 2 * t } else { 9 } {
            once if once < 64 => 2 * once,
            _ => 100,
        },
    ),
    (
        ".global .align 4 .u32 table[4] = {5, 6, 7, 8}; .const .align 8 .u64 where[2] = {generic(table), table+4};",
        "ld.const.u64 %rd2, [where]; ld.const.u64 %rd3, [where+8]; ld.u32 %r9, [%rd2+12]; ld.u32 %r10, [%rd3];
        mad.lo.u32 %r10, %r9, 100, %r10;",
        |_| 806,
    ),
];

fn blocks(options: &Options) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (declarations, body, want) in BLOCKS {
        let (out, stats) = execute(&kernel(declarations, body), 128, &[], 4 * 128, options)
            .unwrap_or_else(|f| panic!("seed {}: {body}: {f}", options.seed));
        seen.extend(stats.opcodes.into_keys());
        let have: Vec<u32> = out.chunks(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let want: Vec<u32> = (0..128).map(want).collect();
        assert_eq!(have, want, "seed {}: {body}", options.seed);
    }
    // A call leaves no instruction of its own.
    seen.insert("call.uni".to_owned());
    seen
}

const PLACES: &str = "
.version 9.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out)
{
	.reg .b32 %r<20>;
	.reg .b64 %rd<4>;
	ld.param.u64 %rd1, [out];
	mov.u32 %r1, %ctaid.x;
	mov.u32 %r2, %ctaid.y;
	mov.u32 %r3, %nctaid.x;
	mad.lo.u32 %r4, %r2, %r3, %r1;
	mad.wide.u32 %rd2, %r4, 8, %rd1;
	mov.u32 %r5, %clusterid.x;
	mov.u32 %r6, %cluster_ctaid.x;
	mov.u32 %r7, %cluster_ctarank;
	mov.u32 %r8, %nclusterid.x;
	mov.u32 %r9, %cluster_nctaid.x;
	mov.u32 %r10, %dynamic_smem_size;
	mov.u32 %r11, %nsmid;
	mad.lo.u32 %r12, %r5, 10, %r6;
	mad.lo.u32 %r12, %r12, 10, %r7;
	mad.lo.u32 %r13, %r8, 10, %r9;
	mad.lo.u32 %r13, %r13, 1000, %r10;
	mad.lo.u32 %r13, %r13, 1000, %r11;
	st.global.v2.u32 [%rd2], {%r12, %r13};
	exit;
}
";

#[test]
fn special_registers_name_blocks_and_clusters() {
    let (out, _) = launch(PLACES, [6, 2, 1], 1, 2, 512, &[], 8 * 12, &Options::default()).unwrap();
    for (i, word) in words(&out).into_iter().enumerate() {
        let x = i as u64 % 6;
        assert_eq!(word & 0xffff_ffff, (x / 2 * 10 + x % 2) * 10 + x % 2);
        assert_eq!(word >> 32, ((3 * 10 + 2) * 1000 + 512) * 1000 + 132);
    }
}

pub fn all() -> BTreeSet<String> {
    let mut seen = collectives();
    seen.extend(blocks(&Options::default()));
    seen.extend(launch(PLACES, [6, 2, 1], 1, 2, 512, &[], 8 * 12, &Options::default()).unwrap().1.opcodes.into_keys());
    seen
}

#[test]
fn collectives_give_each_lane_what_the_warp_has() {
    assert_eq!(COUNT % 32, 0);
    collectives();
}

#[test]
fn barriers_branches_and_calls_work_with_every_seed() {
    blocks(&Options { asynchrony: Asynchrony::Eager, ..Options::default() });
    for seed in 0..10 {
        blocks(&Options { seed, ..Options::default() });
    }
}
