//! `wgmma` in every type and layout.

use std::collections::BTreeSet;

use tandem_ptx::{Asynchrony, Options};

use crate::lanes::launch;
use crate::matrix::{Kind, Random};

/// Where the 16-byte chunk `chunk` of row `row` of an operand lies, rows along K, or, transposed, along M or N.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Layout {
    /// Core matrices of 8 rows of 16 bytes.
    Plain,
    B32,
    B64,
    B128,
}

impl Layout {
    fn code(self) -> u64 {
        match self {
            Self::Plain => 0,
            Self::B128 => 1,
            Self::B64 => 2,
            Self::B32 => 3,
        }
    }

    /// Bytes of a row within the pattern.
    fn span(self) -> usize {
        match self {
            Self::Plain => 16,
            Self::B32 => 32,
            Self::B64 => 64,
            Self::B128 => 128,
        }
    }

    /// The chunk that chunk `chunk` of row `row` moves to.
    fn moved(self, row: usize, chunk: usize) -> usize {
        match self {
            Self::Plain => chunk,
            Self::B32 => chunk ^ (row / 4 % 2),
            Self::B64 => chunk ^ (row / 2 % 4),
            Self::B128 => chunk ^ (row % 8),
        }
    }
}

#[derive(Clone, Copy)]
struct Test {
    opcode: &'static str,
    n: usize,
    k: usize,
    kind: Kind,
    layout: Layout,
    /// A in registers.
    registers: bool,
    transpose: (bool, bool),
    negate: (bool, bool),
    accumulate: bool,
}

const PLAIN: Test = Test {
    opcode: "m64n64k16.f32.bf16.bf16",
    n: 64,
    k: 16,
    kind: Kind::Bf16,
    layout: Layout::B128,
    registers: false,
    transpose: (false, false),
    negate: (false, false),
    accumulate: true,
};

fn tests() -> Vec<Test> {
    let mut all = Vec::new();
    for layout in [Layout::Plain, Layout::B32, Layout::B64, Layout::B128] {
        for transpose in [(false, false), (true, false), (false, true), (true, true)] {
            all.push(Test { layout, transpose, ..PLAIN });
        }
        all.push(Test { opcode: "m64n32k32.s32.s8.s8", n: 32, k: 32, kind: Kind::S8, layout, ..PLAIN });
        all.push(Test { opcode: "m64n16k256.s32.b1.b1.and.popc", n: 16, k: 256, kind: Kind::And, layout, ..PLAIN });
    }
    all.push(Test { opcode: "m64n8k16.f32.f16.f16", n: 8, kind: Kind::F16, negate: (true, false), ..PLAIN });
    all.push(Test { opcode: "m64n256k16.f32.bf16.bf16", n: 256, accumulate: false, negate: (true, true), ..PLAIN });
    all.push(Test { opcode: "m64n32k32.s32.u8.u8", n: 32, k: 32, kind: Kind::U8, accumulate: false, ..PLAIN });
    all.push(Test { opcode: "m64n16k32.f32.e4m3.e4m3", n: 16, k: 32, kind: Kind::E4m3, ..PLAIN });
    all.push(Test { opcode: "m64n16k8.f32.tf32.tf32", n: 16, k: 8, kind: Kind::Tf32, ..PLAIN });
    // N takes more than one atom, so that the leading offset of a transposed B matters.
    for (opcode, n) in [("m64n128k16.f32.bf16.bf16", 128), ("m64n256k16.f32.bf16.bf16", 256)] {
        let wide = Test { opcode, n, transpose: (false, true), ..PLAIN };
        all.extend([wide, Test { registers: true, ..wide }]);
    }
    all.push(Test { registers: true, ..PLAIN });
    all.push(Test { registers: true, transpose: (false, true), layout: Layout::B64, ..PLAIN });
    all.push(Test { opcode: "m64n32k32.s32.s8.s8", n: 32, k: 32, kind: Kind::S8, registers: true, ..PLAIN });
    all.push(Test {
        opcode: "m64n16k256.s32.b1.b1.and.popc",
        n: 16,
        k: 256,
        kind: Kind::And,
        registers: true,
        ..PLAIN
    });
    all
}

/// Room in shared memory for each operand.
const ROOM: usize = 32768;

/// Puts `rows` × `k` elements in shared memory as `layout` says; returns the bytes and the descriptor's strides.
fn place(test: &Test, values: &[(u32, f64)], rows: usize, transposed: bool) -> (Vec<u8>, usize, usize) {
    let (k, bits, layout) = (test.k, test.kind.bits(), test.layout);
    let mut out = vec![0u8; ROOM];
    let span = layout.span();
    // Transposed, the operand's rows run along M or N, and there are as many as K.
    let (lines, length) = if transposed { (k, rows) } else { (rows, k) };
    let chunks = (length * bits / 8).div_ceil(16);
    let groups = lines / 8;
    let atom = 8 * span;
    // Atoms lie first along the rows, spare memory between neighbours, where there is room, so that strides matter.
    let along = atom + if rows > 128 { 0 } else { 1024 };
    let down = (chunks * 16).div_ceil(span) * along;
    for line in 0..lines {
        for i in 0..length {
            let (row, column) = if transposed { (i, line) } else { (line, i) };
            let byte = i * bits / 8;
            let (chunk, atom_index) = (byte / 16 % (span / 16), byte / span);
            let base = line / 8 * down + atom_index * along + line % 8 * span;
            let at = base + layout.moved(line, chunk) * 16 + byte % 16;
            let value = values[row * k + column].0;
            if bits >= 8 {
                out[at..at + bits / 8].copy_from_slice(&value.to_le_bytes()[..bits / 8]);
            } else {
                out[at] |= (value << (i * bits % 8)) as u8;
            }
        }
    }
    assert!(groups * down <= ROOM, "the operand has no room");
    (out, along, down)
}

/// Leading and stride offsets of a descriptor, from the distances of atoms along a row and down the rows.
fn descriptor(test: &Test, at: usize, along: usize, down: usize, transposed: bool) -> u64 {
    let (leading, stride) = match (transposed, test.layout) {
        (false, Layout::Plain) => (along, down),
        // K fits one atom, so that the leading offset says nothing.
        (false, _) => (16, down),
        // Without a swizzle the offsets change their parts: leading goes down K.
        (true, Layout::Plain) => (down, along),
        (true, _) => (along, down),
    };
    (at / 16) as u64 | ((leading / 16) as u64) << 16 | ((stride / 16) as u64) << 32 | test.layout.code() << 62
}

fn kernel(test: &Test, accumulators: usize) -> String {
    let d: Vec<String> = (0..accumulators).map(|i| format!("%r{}", 100 + i)).collect();
    let loads: String = (0..accumulators).map(|i| format!("ld.global.u32 {}, [%rd3+{}];\n", d[i], 4 * i)).collect();
    let stores: String = (0..accumulators).map(|i| format!("st.global.u32 [%rd4+{}], {};\n", 4 * i, d[i])).collect();
    let sign = |negate: bool| if negate { "-1" } else { "1" };
    let flags = match (test.kind.is_float(), test.k == 16) {
        (false, _) => String::new(),
        (true, false) => format!(", {}, {}", sign(test.negate.0), sign(test.negate.1)),
        (true, true) => {
            let a = if test.registers { String::new() } else { format!(", {}", u8::from(test.transpose.0)) };
            format!(", {}, {}{a}, {}", sign(test.negate.0), sign(test.negate.1), u8::from(test.transpose.1))
        }
    };
    let a = if test.registers { "{%r10, %r11, %r12, %r13}" } else { "%rd10" };
    format!(
        "
.version 9.0
.target sm_90a
.extern .shared .align 1024 .b8 tiles[];
.visible .entry k(.param .u64 in, .param .u64 out)
{{
	.reg .pred %p<4>;
	.reg .b32 %r<300>;
	.reg .b64 %rd<20>;
	ld.param.u64 %rd1, [in];
	ld.param.u64 %rd2, [out];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, tiles;
	ld.global.v2.u64 {{%rd10, %rd11}}, [%rd1];
	mad.wide.u32 %rd5, %r1, 16, %rd1;
	mad.wide.u32 %rd6, %r1, 16, %rd5;
	ld.global.v4.u32 {{%r10, %r11, %r12, %r13}}, [%rd5+1024];
	// All of both operands, by 128 threads, 16 bytes at a time.
	mad.lo.u32 %r4, %r1, 16, %r2;
	mov.u32 %r3, 0;
L:
	ld.global.v4.u32 {{%r20, %r21, %r22, %r23}}, [%rd5+3072];
	st.shared.v4.u32 [%r4], {{%r20, %r21, %r22, %r23}};
	add.u64 %rd5, %rd5, 2048;
	add.u32 %r4, %r4, 2048;
	add.u32 %r3, %r3, 1;
	setp.lt.u32 %p1, %r3, 32;
	@%p1 bra L;
	fence.proxy.async.shared::cta;
	bar.sync 0;
	add.u64 %rd3, %rd1, 68608;
	mad.wide.u32 %rd3, %r1, {}, %rd3;
	mad.wide.u32 %rd4, %r1, {}, %rd2;
	{loads}
	setp.ne.u32 %p2, {}, 0;
	wgmma.fence.sync.aligned;
	wgmma.mma_async.sync.aligned.{} {{{}}}, {a}, %rd11, %p2{flags};
	wgmma.commit_group.sync.aligned;
	wgmma.wait_group.sync.aligned 0;
	{stores}
	ret;
}}
",
        4 * accumulators,
        4 * accumulators,
        u8::from(test.accumulate),
        test.opcode,
        d.join(", ")
    )
}

fn run(test: &Test, options: &Options, seen: &mut BTreeSet<String>) {
    let (n, k, kind) = (test.n, test.k, test.kind);
    let mut random = Random(n as u64 + k as u64);
    let a: Vec<(u32, f64)> = (0..64 * k).map(|_| kind.number(&mut random)).collect();
    let b: Vec<(u32, f64)> = (0..n * k).map(|_| kind.number(&mut random)).collect();
    let c: Vec<f64> = (0..64 * n).map(|_| f64::from(random.next() % 64) - 20.0).collect();
    let bits_of = |x: f64| if kind.is_float() { (x as f32).to_bits() } else { x as i64 as u32 };
    // Dynamic shared memory starts where the hardware's first KiB ends.
    let (a_bytes, a_along, a_down) = place(test, &a, 64, test.transpose.0);
    let (b_bytes, b_along, b_down) = place(test, &b, n, test.transpose.1);
    let mut input = Vec::new();
    input.extend(descriptor(test, 1024, a_along, a_down, test.transpose.0).to_le_bytes());
    input.extend(descriptor(test, 1024 + ROOM, b_along, b_down, test.transpose.1).to_le_bytes());
    input.resize(1024, 0);
    let per = 32 / kind.bits();
    for thread in 0..128 {
        let (warp, group, place) = (thread / 32, thread % 32 / 4, thread % 4);
        for r in 0..4 {
            let row = warp * 16 + group + 8 * (r % 2);
            let first = place * per + r / 2 * 4 * per;
            let word =
                (0..per).filter(|i| first + i < k).fold(0, |w, i| w | a[row * k + first + i].0 << (i * kind.bits()));
            input.extend(word.to_le_bytes());
        }
    }
    assert_eq!(input.len(), 3072);
    input.extend(a_bytes);
    input.extend(b_bytes);
    let accumulators = n / 2;
    // The accumulator `i` of a thread: row and column.
    let at = |thread: usize, i: usize| {
        let (warp, group, place) = (thread / 32, thread % 32 / 4, thread % 4);
        (warp * 16 + group + 8 * (i / 2 % 2), i / 4 * 8 + place * 2 + i % 2)
    };
    for thread in 0..128 {
        for i in 0..accumulators {
            let (row, column) = at(thread, i);
            input.extend(bits_of(c[row * n + column]).to_le_bytes());
        }
    }
    let ptx = kernel(test, accumulators);
    let size = 128 * accumulators * 4;
    let (out, stats) = launch(&ptx, [1, 1, 1], 128, 1, 2 * ROOM as u32, &input, size, options)
        .unwrap_or_else(|f| panic!("{} {:?}: {f}", test.opcode, test.layout));
    seen.extend(stats.opcodes.into_keys());
    let sign = if test.negate.0 == test.negate.1 { 1.0 } else { -1.0 };
    for thread in 0..128 {
        for i in 0..accumulators {
            let (row, column) = at(thread, i);
            let terms = (0..k).map(|x| kind.multiply(a[row * k + x].1, b[column * k + x].1));
            let start = if test.accumulate { c[row * n + column] } else { 0.0 };
            let want = bits_of(start + sign * terms.sum::<f64>());
            let o = (thread * accumulators + i) * 4;
            let have = u32::from_le_bytes([out[o], out[o + 1], out[o + 2], out[o + 3]]);
            assert_eq!(have, want, "{} {:?} {:?} ({row}, {column})", test.opcode, test.layout, test.transpose);
        }
    }
}

pub fn all() -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    run(&PLAIN, &Options::default(), &mut seen);
    seen
}

#[test]
fn products_of_every_type_and_layout_are_those_of_the_matrices() {
    let eager = Options { asynchrony: Asynchrony::Eager, ..Options::default() };
    for options in [eager, Options::default()] {
        for test in tests() {
            run(&test, &options, &mut BTreeSet::new());
        }
    }
}
