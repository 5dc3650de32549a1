//! Matrix loads and stores, and `mma.sync` in every shape.

use std::collections::BTreeSet;

use half::{bf16, f16};
use tandem_ptx::Options;

use crate::lanes::execute;

pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 ^ (self.0 >> 13) as u32
    }
}

/// A warp that loads `load` words a lane in `%r10` upwards, runs `body`, and stores `store` words from `%r50` upwards.
fn kernel(load: usize, store: usize, body: &str) -> String {
    let loads: String = (0..load).map(|i| format!("ld.global.u32 %r{}, [%rd3+{}];\n", 10 + i, 4 * i)).collect();
    let stores: String = (0..store).map(|i| format!("st.global.u32 [%rd4+{}], %r{};\n", 4 * i, 50 + i)).collect();
    format!(
        "
.version 9.0
.target sm_90a
.visible .entry k(.param .u64 in, .param .u64 out)
{{
	.reg .b32 %r<100>;
	.reg .b64 %rd<9>;
	.shared .align 16 .b8 room[1024];
	ld.param.u64 %rd1, [in];
	ld.param.u64 %rd2, [out];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, room;
	mad.lo.u32 %r3, %r1, 16, %r2;
	mad.wide.u32 %rd3, %r1, {}, %rd1;
	mad.wide.u32 %rd4, %r1, {}, %rd2;
	{loads}
	{body}
	{stores}
	ret;
}}
",
        4 * load,
        4 * store
    )
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn run(load: usize, store: usize, body: &str, input: &[u32], seen: &mut BTreeSet<String>) -> Vec<u32> {
    let bytes: Vec<u8> = input.iter().flat_map(|w| w.to_le_bytes()).collect();
    let (out, stats) = execute(&kernel(load, store, body), 32, &bytes, 32 * 4 * store, &Options::default())
        .unwrap_or_else(|f| panic!("{body}: {f}"));
    seen.extend(stats.opcodes.into_keys());
    words(&out)
}

/// Each lane has a row of 16 bytes; lane `8 i + r` holds row `r` of matrix `i`.
fn moves() -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut random = Random(3);
    let input: Vec<u32> = (0..128).map(|_| random.next()).collect();
    let half = |matrix: usize, row: usize, column: usize| {
        input[(8 * matrix + row) * 4 + column / 2] >> (16 * (column % 2)) & 0xffff
    };
    let put = "st.shared.v4.u32 [%r3], {%r10, %r11, %r12, %r13}; bar.warp.sync -1;";
    let load4 = format!("{put} ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{%r50, %r51, %r52, %r53}}, [%r3];");
    let out = run(4, 4, &load4, &input, &mut seen);
    let turned =
        format!("{put} ldmatrix.sync.aligned.m8n8.x4.trans.shared::cta.b16 {{%r50, %r51, %r52, %r53}}, [%r3];");
    let out_turned = run(4, 4, &turned, &input, &mut seen);
    for lane in 0..32 {
        let (row, column) = (lane / 4, lane % 4 * 2);
        for i in 0..4 {
            assert_eq!(out[lane * 4 + i], half(i, row, column) | half(i, row, column + 1) << 16);
            assert_eq!(out_turned[lane * 4 + i], half(i, column, row) | half(i, column + 1, row) << 16);
        }
    }
    let load2 = format!("{put} ldmatrix.sync.aligned.m8n8.x2.shared.b16 {{%r50, %r51}}, [%r3];");
    let out = run(4, 2, &load2, &input, &mut seen);
    assert_eq!(out[2 * 9 + 1], half(1, 2, 2) | half(1, 2, 3) << 16);
    // What stmatrix stores, ordinary loads read by rows.
    let store = "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%r3], {%r10, %r11, %r12, %r13}; bar.warp.sync -1;
        ld.shared.v4.u32 {%r50, %r51, %r52, %r53}, [%r3];";
    let out = run(4, 4, store, &input, &mut seen);
    let turned = run(4, 4, &store.replace("x4", "x4.trans"), &input, &mut seen);
    for (i, row, column) in [(0, 0, 0), (1, 3, 4), (2, 7, 7), (3, 5, 1)] {
        let element = |out: &[u32], row: usize, column: usize| {
            out[(8 * i + row) * 4 + column / 2] >> (16 * (column % 2)) & 0xffff
        };
        let fragment =
            |row: usize, column: usize| input[(4 * row + column / 2) * 4 + i] >> (16 * (column % 2)) & 0xffff;
        assert_eq!(element(&out, row, column), fragment(row, column));
        assert_eq!(element(&turned, column, row), fragment(row, column));
    }
    let out = run(4, 1, "movmatrix.sync.aligned.m8n8.trans.b16 %r50, %r10;", &input, &mut seen);
    let fragment = |words: &dyn Fn(usize) -> u32, row: usize, column: usize| {
        words(4 * row + column / 2) >> (16 * (column % 2)) & 0xffff
    };
    for row in 0..8 {
        for column in 0..8 {
            let from = fragment(&|lane| input[4 * lane], row, column);
            assert_eq!(fragment(&|lane| out[lane], column, row), from);
        }
    }
    seen
}

/// Element types of products, as the ISA names them.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    F16,
    Bf16,
    Tf32,
    E4m3,
    S8,
    U8,
    S4,
    And,
    Xor,
}

impl Kind {
    pub fn bits(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 16,
            Self::Tf32 => 32,
            Self::E4m3 | Self::S8 | Self::U8 => 8,
            Self::S4 => 4,
            Self::And | Self::Xor => 1,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::Bf16 | Self::Tf32 | Self::E4m3)
    }

    /// Bits of a random number of modest size, and its value.
    pub fn number(self, random: &mut Random) -> (u32, f64) {
        let r = random.next();
        let small = f64::from(r % 33) / 8.0 - 2.0;
        match self {
            Self::F16 => (f16::from_f64(small).to_bits().into(), small),
            Self::Bf16 => (bf16::from_f64(small).to_bits().into(), small),
            // The lower bits are there and must be ignored.
            Self::Tf32 => ((small as f32).to_bits() | (r & 0xfff), small),
            Self::E4m3 => {
                let (sign, e, m) = (r >> 7 & 1, 5 + (r >> 3 & 3), r & 7);
                let value = (1.0 + f64::from(m) / 8.0) * 2f64.powi(e as i32 - 7);
                (sign << 7 | e << 3 | m, if sign == 1 { -value } else { value })
            }
            Self::S8 => (r & 0xff, f64::from(r as i8)),
            Self::U8 => (r & 0xff, f64::from(r as u8)),
            Self::S4 => (r & 0xf, f64::from((r << 28) as i32 >> 28)),
            Self::And | Self::Xor => (r >> 7 & 1, f64::from(r >> 7 & 1)),
        }
    }

    pub fn multiply(self, a: f64, b: f64) -> f64 {
        if self == Self::Xor { if a == b { 0.0 } else { 1.0 } } else { a * b }
    }
}

struct Shape {
    opcode: &'static str,
    m: usize,
    k: usize,
    a: Kind,
    b: Kind,
}

const SHAPES: &[Shape] = &[
    Shape { opcode: "m16n8k8.row.col.f32.f16.f16.f32", m: 16, k: 8, a: Kind::F16, b: Kind::F16 },
    Shape { opcode: "m16n8k16.row.col.f32.f16.f16.f32", m: 16, k: 16, a: Kind::F16, b: Kind::F16 },
    Shape { opcode: "m16n8k16.row.col.f16.f16.f16.f16", m: 16, k: 16, a: Kind::F16, b: Kind::F16 },
    Shape { opcode: "m16n8k8.row.col.f32.bf16.bf16.f32", m: 16, k: 8, a: Kind::Bf16, b: Kind::Bf16 },
    Shape { opcode: "m16n8k16.row.col.f32.bf16.bf16.f32", m: 16, k: 16, a: Kind::Bf16, b: Kind::Bf16 },
    Shape { opcode: "m16n8k4.row.col.f32.tf32.tf32.f32", m: 16, k: 4, a: Kind::Tf32, b: Kind::Tf32 },
    Shape { opcode: "m16n8k8.row.col.f32.tf32.tf32.f32", m: 16, k: 8, a: Kind::Tf32, b: Kind::Tf32 },
    Shape { opcode: "m16n8k32.row.col.f32.e4m3.e4m3.f32", m: 16, k: 32, a: Kind::E4m3, b: Kind::E4m3 },
    Shape { opcode: "m8n8k16.row.col.s32.s8.s8.s32", m: 8, k: 16, a: Kind::S8, b: Kind::S8 },
    Shape { opcode: "m16n8k16.row.col.s32.s8.s8.s32", m: 16, k: 16, a: Kind::S8, b: Kind::S8 },
    Shape { opcode: "m16n8k32.row.col.s32.s8.s8.s32", m: 16, k: 32, a: Kind::S8, b: Kind::S8 },
    Shape { opcode: "m16n8k32.row.col.satfinite.s32.u8.s8.s32", m: 16, k: 32, a: Kind::U8, b: Kind::S8 },
    Shape { opcode: "m16n8k64.row.col.s32.s4.s4.s32", m: 16, k: 64, a: Kind::S4, b: Kind::S4 },
    Shape { opcode: "m16n8k256.row.col.s32.b1.b1.s32.and.popc", m: 16, k: 256, a: Kind::And, b: Kind::And },
    Shape { opcode: "m16n8k128.row.col.s32.b1.b1.s32.xor.popc", m: 16, k: 128, a: Kind::Xor, b: Kind::Xor },
];

fn list(first: usize, count: usize) -> String {
    (first..first + count).map(|i| format!("%r{i}")).collect::<Vec<_>>().join(", ")
}

/// Products of random matrices, put in the fragments that the ISA describes: a lane's group is `lane / 4`, its place in it
/// `lane % 4`; elements of A lie along K within a register, registers alternate between rows and rows + 8.
fn products() -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut random = Random(11);
    for shape in SHAPES {
        let (m, n, k, bits) = (shape.m, 8, shape.k, shape.a.bits());
        let halves = shape.opcode.ends_with("f16.f16.f16.f16");
        let a: Vec<(u32, f64)> = (0..m * k).map(|_| shape.a.number(&mut random)).collect();
        let b: Vec<(u32, f64)> = (0..n * k).map(|_| shape.b.number(&mut random)).collect();
        let c: Vec<f64> = (0..m * n).map(|_| f64::from(random.next() % 64) - 20.0).collect();
        let per = 32 / bits;
        let (ra, rb) = (m * k * bits / 1024, n * k * bits / 1024);
        let rc = m * n / if halves { 64 } else { 32 };
        let bits_of = |value: f64| match (halves, shape.a.is_float()) {
            (true, _) => u32::from(f16::from_f64(value).to_bits()),
            (_, true) => (value as f32).to_bits(),
            _ => value as i64 as u32,
        };
        let mut input = Vec::new();
        for lane in 0..32 {
            let (group, place) = (lane / 4, lane % 4);
            for r in 0..ra {
                let row = if m == 16 { group + 8 * (r % 2) } else { group };
                let first = place * per + if m == 16 { r / 2 } else { r } * 4 * per;
                input.push((0..per).fold(0, |w, i| w | a[row * k + first + i].0 << (i * bits)));
            }
            for r in 0..rb {
                let first = place * per + r * 4 * per;
                input.push((0..per).fold(0, |w, i| w | b[group * k + first + i].0 << (i * bits)));
            }
            for r in 0..rc {
                if halves {
                    let at = (group + 8 * r) * n + 2 * place;
                    input.push(bits_of(c[at]) | bits_of(c[at + 1]) << 16);
                } else {
                    input.push(bits_of(c[(group + 8 * (r / 2)) * n + 2 * place + r % 2]));
                }
            }
        }
        let (la, lb, lc) = (list(10, ra), list(10 + ra, rb), list(10 + ra + rb, rc));
        let body = format!("mma.sync.aligned.{} {{{}}}, {{{la}}}, {{{lb}}}, {{{lc}}};", shape.opcode, list(50, rc));
        let out = run(ra + rb + rc, rc, &body, &input, &mut seen);
        for lane in 0..32 {
            let (group, place) = (lane / 4, lane % 4);
            for r in 0..rc {
                let element = |row: usize, column: usize| {
                    let terms = (0..k).map(|x| shape.a.multiply(a[row * k + x].1, b[column * k + x].1));
                    bits_of(c[row * n + column] + terms.sum::<f64>())
                };
                let want = if halves {
                    element(group + 8 * r, 2 * place) | element(group + 8 * r, 2 * place + 1) << 16
                } else {
                    element(group + 8 * (r / 2), 2 * place + r % 2)
                };
                assert_eq!(out[lane * rc + r], want, "{} lane {lane} register {r}", shape.opcode);
            }
        }
    }
    seen
}

pub fn all() -> BTreeSet<String> {
    let mut seen = moves();
    seen.extend(products());
    seen
}

#[test]
fn matrices_move_between_shared_memory_and_fragments() {
    moves();
}

#[test]
fn products_of_every_shape_are_those_of_the_matrices() {
    products();
}
