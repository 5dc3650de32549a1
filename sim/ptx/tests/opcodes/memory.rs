//! Loads, stores, atomics and addresses.

use std::collections::BTreeSet;

use tandem_ptx::{FaultKind, Options};

use crate::lanes::{Case, check, execute, launch, triples, words};

/// Per lane: values go through local, shared and generic addresses and come back.
const ROUND_TRIPS: &[Case] = &[
    (
        ".local .align 16 .b8 depot[32]; mov.u64 %rd30, depot; st.local.v2.u32 [%rd30+8], {%r1, %r2};
        cvta.local.u64 %rd31, %rd30; ld.u64 %rd10, [%rd31+8];",
        |a, b, _| (a & 0xffff_ffff) | b << 32,
    ),
    (
        ".shared .align 8 .b8 room[2048]; mov.u64 %rd30, room; mad.wide.u32 %rd30, %r20, 8, %rd30;
        st.shared.u64 [%rd30], %rd1; cvta.shared.u64 %rd31, %rd30; ld.u64 %rd32, [%rd31];
        cvta.to.shared.u64 %rd33, %rd31; ld.volatile.shared.u64 %rd34, [%rd33]; add.u64 %rd10, %rd32, %rd34;",
        |a, _, _| a.wrapping_add(a),
    ),
    ("st.global.u8 [%rd21], %r1; st.global.u8 [%rd21+1], %r2; ld.global.u16 %r10, [%rd21];", |a, b, _| {
        (a & 0xff) | (b & 0xff) << 8
    }),
    ("st.global.u32 [%rd21], %r1; ld.global.s8 %r10, [%rd21+3];", |a, _, _| {
        u64::from(i32::from((a >> 24) as i8) as u32)
    }),
    ("st.global.u32 [%rd21], %r1; ld.global.L1::no_allocate.L2::128B.s16 %rd10, [%rd21];", |a, _, _| {
        i64::from(a as i16) as u64
    }),
    (
        "createpolicy.fractional.L2::evict_first.b64 %rd30, 1.0; st.global.L2::cache_hint.v2.b32 [%rd21], {%r2, %r1}, %rd30;
        ld.global.nc.L2::cache_hint.v2.b32 {%r11, %r12}, [%rd21], %rd30; mov.b64 %rd10, {%r12, %r11};",
        |a, b, _| (a & 0xffff_ffff) | b << 32,
    ),
    ("st.relaxed.gpu.global.u32 [%rd21], %r1; ld.acquire.gpu.global.u32 %r10, [%rd21];", |a, _, _| a & 0xffff_ffff),
    ("st.release.sys.u32 [%rd21], %r1; fence.acq_rel.gpu; ldu.global.u32 %r10, [%rd21];", |a, _, _| a & 0xffff_ffff),
    ("prefetch.global.L2 [%rd21]; prefetchu.L1 [%rd21]; discard.global.L2 [%rd21], 128;
        applypriority.global.L2::evict_normal [%rd21], 128; mov.u64 %rd10, %rd1;", |a, _, _| a),
    ("isspacep.global %p1, %rd21; isspacep.shared %p2, %rd21; not.pred %p2, %p2; and.pred %p10, %p1, %p2;", |_, _, _| 1),
    (".shared .align 4 .b32 word; mov.u64 %rd30, word; cvta.shared.u64 %rd31, %rd30; isspacep.shared %p10, %rd31;", |_, _, _| 1),
    (".shared .align 4 .b32 word; mov.u32 %r30, word; getctarank.shared::cluster.u32 %r10, %r30;", |_, _, _| 0),
];

/// Atomics on a word of the lane's own: the old value comes back, the new one stays.
const ATOMICS: &[Case] = &[
    ("st.global.u32 [%rd21], %r1; atom.global.add.u32 %r11, [%rd21], %r2; ld.global.u32 %r12, [%rd21]; mov.b64 %rd10, {%r11, %r12};",
        |a, b, _| both(a, u64::from((a as u32).wrapping_add(b as u32)))),
    ("st.global.u32 [%rd21], %r1; atom.min.s32 %r11, [%rd21], %r2; ld.global.u32 %r12, [%rd21]; mov.b64 %rd10, {%r11, %r12};",
        |a, b, _| both(a, u64::from((a as i32).min(b as i32) as u32))),
    ("st.global.u32 [%rd21], %r1; atom.global.max.u32 %r11, [%rd21], %r2; ld.global.u32 %r12, [%rd21]; mov.b64 %rd10, {%r11, %r12};",
        |a, b, _| both(a, u64::from((a as u32).max(b as u32)))),
    ("st.global.u32 [%rd21], %r1; atom.global.and.b32 %r11, [%rd21], %r2; ld.global.u32 %r12, [%rd21]; mov.b64 %rd10, {%r11, %r12};",
        |a, b, _| both(a, a & b)),
    ("st.global.u32 [%rd21], %r1; atom.acq_rel.gpu.global.or.b32 %r11, [%rd21], %r2; ld.global.u32 %r12, [%rd21]; mov.b64 %rd10, {%r11, %r12};",
        |a, b, _| both(a, a | b)),
    ("st.global.u32 [%rd21], %r1; atom.global.xor.b32 %r11, [%rd21], %r2; ld.global.u32 %r12, [%rd21]; mov.b64 %rd10, {%r11, %r12};",
        |a, b, _| both(a, a ^ b)),
    ("st.global.u32 [%rd21], %r1; atom.global.exch.b32 %r11, [%rd21], %r2; ld.global.u32 %r12, [%rd21]; mov.b64 %rd10, {%r11, %r12};",
        both_case),
    ("st.global.u32 [%rd21], %r1; atom.global.cas.b32 %r11, [%rd21], %r2, %r3; ld.global.u32 %r12, [%rd21]; mov.b64 %rd10, {%r11, %r12};",
        |a, b, c| both(a, if a as u32 == b as u32 { c } else { a })),
    ("st.global.u32 [%rd21], %r1; atom.global.inc.u32 %r11, [%rd21], %r2; ld.global.u32 %r12, [%rd21]; mov.b64 %rd10, {%r11, %r12};",
        |a, b, _| both(a, if a as u32 >= b as u32 { 0 } else { u64::from(a as u32 + 1) })),
    ("st.global.u32 [%rd21], %r1; atom.global.dec.u32 %r11, [%rd21], %r2; ld.global.u32 %r12, [%rd21]; mov.b64 %rd10, {%r11, %r12};",
        |a, b, _| both(a, if a as u32 == 0 || a as u32 > b as u32 { b } else { u64::from(a as u32 - 1) })),
    ("st.global.u64 [%rd21], %rd1; red.global.add.u64 [%rd21], %rd2; ld.global.u64 %rd10, [%rd21];", |a, b, _| a.wrapping_add(b)),
    ("st.global.u64 [%rd21], %rd1; red.relaxed.gpu.global.max.s64 [%rd21], %rd2; ld.global.u64 %rd10, [%rd21];",
        |a, b, _| (a as i64).max(b as i64) as u64),
    (".shared .align 8 .b8 room[2048]; mov.u64 %rd30, room; mad.wide.u32 %rd30, %r20, 8, %rd30; st.shared.u32 [%rd30], %r1;
        atom.shared.add.s32 %r11, [%rd30], %r2; ld.shared.u32 %r12, [%rd30]; mov.b64 %rd10, {%r11, %r12};",
        |a, b, _| both(a, u64::from((a as u32).wrapping_add(b as u32)))),
];

fn both(low: u64, high: u64) -> u64 {
    (low & 0xffff_ffff) | high << 32
}

fn both_case(a: u64, b: u64, _: u64) -> u64 {
    both(a, b)
}

const FLOATS: &str = "
.version 9.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out)
{
	.reg .b32 %r<9>;
	.reg .b16 %h<3>;
	.reg .f32 %f<5>;
	.reg .f64 %d<3>;
	.reg .b64 %rd<9>;
	ld.param.u64 %rd1, [out];
	mov.f32 %f1, 0f3FC00000;
	red.global.add.f32 [%rd1], %f1;
	mov.f64 %d1, 0d3FE0000000000000;
	red.global.add.f64 [%rd1+8], %d1;
	mov.b32 %r1, 0x3C003800;
	red.global.add.noftz.f16x2 [%rd1+16], %r1;
	mov.b16 %h1, 0x3F80;
	atom.global.add.noftz.bf16 %h2, [%rd1+20], %h1;
	red.global.add.v2.f32 [%rd1+24], {%f1, %f1};
	ret;
}
";

#[test]
fn atomics_on_floats_add_for_every_lane() {
    let (out, _) = execute(FLOATS, 64, &[], 32, &Options::default()).unwrap();
    let w = words(&out);
    assert_eq!(f32::from_bits(w[0] as u32), 96.0);
    assert_eq!(f64::from_bits(w[1]), 32.0);
    assert_eq!(w[2] as u32, 0x5400_5000, "64 and 32 in halves");
    assert_eq!(w[2] >> 32 & 0xffff, 0x4280, "64 in bf16");
    assert_eq!(w[3], 0x42c0_0000_42c0_0000);
}

const CLUSTER: &str = "
.version 9.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out)
{
	.reg .b32 %r<20>;
	.reg .b64 %rd<9>;
	.shared .align 4 .b32 word;
	ld.param.u64 %rd1, [out];
	mov.u32 %r1, %cluster_ctarank;
	mov.u32 %r2, %cluster_nctarank;
	add.u32 %r3, %r1, 1;
	rem.u32 %r3, %r3, %r2;
	mov.u32 %r4, word;
	mapa.shared::cluster.u32 %r5, %r4, %r3;
	mov.u32 %r6, %ctaid.x;
	barrier.cluster.arrive.relaxed.aligned;
	barrier.cluster.wait.aligned;
	st.shared::cluster.u32 [%r5], %r6;
	getctarank.shared::cluster.u32 %r7, %r5;
	barrier.cluster.arrive.release.aligned;
	barrier.cluster.wait.acquire.aligned;
	ld.shared.u32 %r8, [word];
	mad.lo.u32 %r9, %r7, 1000, %r8;
	mul.wide.u32 %rd2, %r6, 4;
	add.u64 %rd3, %rd1, %rd2;
	st.global.u32 [%rd3], %r9;
	cvt.u64.u32 %rd4, %r4;
	cvta.shared.u64 %rd4, %rd4;
	mapa.u64 %rd5, %rd4, %r1;
	ld.u32 %r10, [%rd5];
	add.u64 %rd3, %rd3, 32;
	st.global.u32 [%rd3], %r10;
	barrier.cluster.arrive.aligned;
	barrier.cluster.wait.aligned;
	ret;
}
";

#[test]
fn a_mapped_address_reaches_the_next_block_of_the_cluster() {
    for seed in 0..5 {
        let options = Options { seed, ..Options::default() };
        let (out, _) = launch(CLUSTER, [8, 1, 1], 1, 4, 0, &[], 64, &options).unwrap();
        let have: Vec<u32> = words(&out).iter().flat_map(|w| [*w as u32, (*w >> 32) as u32]).collect();
        for block in 0..8 {
            let (rank, first) = (block % 4, block / 4 * 4);
            let left = first + (rank + 3) % 4;
            assert_eq!(have[block as usize], (rank + 1) % 4 * 1000 + left);
            assert_eq!(have[8 + block as usize], left);
        }
    }
}

#[test]
fn a_block_must_not_exit_while_another_reads_its_shared_memory() {
    let remote = CLUSTER.replace("mapa.u64 %rd5, %rd4, %r1;", "mapa.u64 %rd5, %rd4, %r3;");
    let last = "\tbarrier.cluster.arrive.aligned;\n\tbarrier.cluster.wait.aligned;\n\tret;";
    assert!(remote.contains(last));
    for seed in 0..10 {
        let options = Options { seed, ..Options::default() };
        let run = |text: &str| launch(text, [8, 1, 1], 1, 4, 0, &[], 64, &options);
        run(&remote).unwrap();
        let fault = run(&remote.replace(last, "\tret;")).unwrap_err();
        assert!(fault.kind == FaultKind::Race && fault.message.contains("exit"), "{fault}");
    }
}

#[test]
fn accesses_that_are_not_aligned_are_faults() {
    let text = crate::lanes::assemble("add.u64 %rd30, %rd21, 2; ld.global.u32 %r10, [%rd30];");
    let fault = execute(&text, 1, &[0; 24], 8, &Options::default()).unwrap_err();
    assert_eq!((fault.kind, fault.lane), (FaultKind::Misaligned, Some(0)));
}

pub fn all() -> BTreeSet<String> {
    let mut seen = check(ROUND_TRIPS, &triples(&[]));
    seen.extend(check(ATOMICS, &triples(&[0, 1, 5, 0xffff_ffff])));
    seen.extend(launch(CLUSTER, [4, 1, 1], 1, 4, 0, &[], 64, &Options::default()).unwrap().1.opcodes.into_keys());
    seen
}

#[test]
fn values_survive_every_state_space() {
    check(ROUND_TRIPS, &triples(&[]));
}

#[test]
fn atomics_return_the_old_value_and_leave_the_new() {
    check(ATOMICS, &triples(&[0, 1, 5, 0xffff_ffff]));
}
