//! The opcodes: their PTX, what they are given, how their results are compared.

use super::Comparison::{self, Bf16x2, Exact, F16x2, F32};
use super::inputs::Element::{self, Bf16, Bits, E4m3, E5m2, F16, S32, Tf32};
use super::inputs::{Given, IMAGE, Numbers};
use std::fmt::Write;

/// One opcode.
pub(super) struct Opcode {
    pub name: String,
    pub group: Group,
    /// Number in its group.
    pub number: usize,
    /// PTX with the operands of the group's kernel.
    ptx: String,
    pub inputs: Given,
    pub comparison: Comparison,
    /// Words that it writes in each thread.
    pub words: usize,
}

/// The kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Scalar,
    Mma,
    Move,
    Wgmma,
}

/// Name, PTX, inputs, comparison and written words of an opcode.
type Described = (String, String, Given, Comparison, usize);

/// How a group's kernel is launched.
pub(super) struct Shape {
    pub kernel: &'static str,
    /// Threads of a block.
    pub block: usize,
    /// Words that a thread writes.
    pub results: usize,
    /// Bytes of dynamic shared memory.
    pub shared: u32,
}

impl Group {
    pub fn shape(self) -> Shape {
        let (kernel, block, results, shared) = match self {
            Group::Scalar => ("scalar", 128, 1, 0),
            Group::Mma => ("mma", 32, 4, 0),
            Group::Move => ("move", 32, 12, 0),
            // The image starts at a multiple of 1024.
            Group::Wgmma => ("wgmma", 128, 64, 4 * IMAGE as u32 + 1024),
        };
        Shape { kernel, block, results, shared }
    }
}

/// Widths of a scalar opcode's operands and how many there are.
#[derive(Clone, Copy)]
enum Form {
    /// 32 bits from 32.
    Words(usize),
    /// 16 bits from 32.
    Narrow(usize),
    /// 32 bits from 16.
    Wide,
}
use Form::{Narrow, Wide, Words};

const SINGLES: Given = Given::Singles;
const BINARY16: Given = Given::Halves(F16);
const BFLOAT16: Given = Given::Halves(Bf16);
const WORDS: Given = Given::Words;

const SCALARS: &[(&str, Form, Given, Comparison)] = &[
    ("cvt.rn.f16.f32", Narrow(1), SINGLES, Exact),
    ("cvt.rz.f16.f32", Narrow(1), SINGLES, Exact),
    ("cvt.rm.f16.f32", Narrow(1), SINGLES, Exact),
    ("cvt.rp.f16.f32", Narrow(1), SINGLES, Exact),
    ("cvt.rn.bf16.f32", Narrow(1), SINGLES, Exact),
    ("cvt.rz.bf16.f32", Narrow(1), SINGLES, Exact),
    ("cvt.rn.relu.bf16.f32", Narrow(1), SINGLES, Exact),
    ("cvt.rn.f16x2.f32", Words(2), SINGLES, Exact),
    ("cvt.rn.relu.f16x2.f32", Words(2), SINGLES, Exact),
    ("cvt.rn.bf16x2.f32", Words(2), SINGLES, Exact),
    ("cvt.rz.bf16x2.f32", Words(2), SINGLES, Exact),
    ("cvt.rna.tf32.f32", Words(1), SINGLES, Exact),
    ("cvt.rn.satfinite.e4m3x2.f32", Narrow(2), SINGLES, Exact),
    ("cvt.rn.satfinite.relu.e4m3x2.f32", Narrow(2), SINGLES, Exact),
    ("cvt.rn.satfinite.e5m2x2.f32", Narrow(2), SINGLES, Exact),
    ("cvt.rn.satfinite.e4m3x2.f16x2", Narrow(1), BINARY16, Exact),
    ("cvt.rn.satfinite.e5m2x2.f16x2", Narrow(1), BINARY16, Exact),
    ("cvt.rn.f16x2.e4m3x2", Wide, WORDS, Exact),
    ("cvt.rn.f16x2.e5m2x2", Wide, WORDS, Exact),
    ("cvt.f32.f16", Wide, BINARY16, Exact),
    ("cvt.f32.bf16", Wide, BFLOAT16, Exact),
    ("cvt.rni.f32.f32", Words(1), SINGLES, Exact),
    ("cvt.rzi.ftz.f32.f32", Words(1), SINGLES, Exact),
    ("cvt.sat.f32.f32", Words(1), SINGLES, Exact),
    ("cvt.rni.s32.f32", Words(1), SINGLES, Exact),
    ("cvt.rzi.s32.f32", Words(1), SINGLES, Exact),
    ("cvt.rmi.s32.f32", Words(1), SINGLES, Exact),
    ("cvt.rpi.s32.f32", Words(1), SINGLES, Exact),
    ("cvt.rni.u32.f32", Words(1), SINGLES, Exact),
    ("cvt.rni.sat.s8.f32", Words(1), SINGLES, Exact),
    ("cvt.rn.f32.s32", Words(1), WORDS, Exact),
    ("cvt.rz.f32.s32", Words(1), WORDS, Exact),
    ("cvt.rn.f32.u32", Words(1), WORDS, Exact),
    ("cvt.pack.sat.s8.s32.b32", Words(3), WORDS, Exact),
    ("add.rn.f32", Words(2), SINGLES, Exact),
    ("add.rz.f32", Words(2), SINGLES, Exact),
    ("add.rm.f32", Words(2), SINGLES, Exact),
    ("add.rn.ftz.f32", Words(2), SINGLES, Exact),
    ("mul.rn.f32", Words(2), SINGLES, Exact),
    ("mul.rp.f32", Words(2), SINGLES, Exact),
    ("fma.rn.f32", Words(3), SINGLES, Exact),
    ("fma.rz.f32", Words(3), SINGLES, Exact),
    ("fma.rn.ftz.f32", Words(3), SINGLES, Exact),
    ("div.rn.f32", Words(2), SINGLES, Exact),
    ("rcp.rn.f32", Words(1), SINGLES, Exact),
    ("sqrt.rn.f32", Words(1), SINGLES, Exact),
    ("sqrt.rz.f32", Words(1), SINGLES, Exact),
    ("min.f32", Words(2), SINGLES, Exact),
    ("max.NaN.f32", Words(2), SINGLES, Exact),
    ("fma.rn.f16x2", Words(3), BINARY16, Exact),
    ("fma.rn.relu.f16x2", Words(3), BINARY16, Exact),
    ("add.rn.f16x2", Words(2), BINARY16, Exact),
    ("fma.rn.bf16x2", Words(3), BFLOAT16, Exact),
    ("min.NaN.bf16x2", Words(2), BFLOAT16, Exact),
    ("dp4a.s32.s32", Words(3), WORDS, Exact),
    ("dp4a.u32.s32", Words(3), WORDS, Exact),
    ("ex2.approx.f32", Words(1), SINGLES, F32),
    ("ex2.approx.ftz.f32", Words(1), SINGLES, F32),
    ("lg2.approx.f32", Words(1), SINGLES, F32),
    ("lg2.approx.ftz.f32", Words(1), SINGLES, F32),
    ("rcp.approx.f32", Words(1), SINGLES, F32),
    ("rcp.approx.ftz.f32", Words(1), SINGLES, F32),
    ("sqrt.approx.f32", Words(1), SINGLES, F32),
    ("sqrt.approx.ftz.f32", Words(1), SINGLES, F32),
    ("rsqrt.approx.f32", Words(1), SINGLES, F32),
    ("rsqrt.approx.ftz.f32", Words(1), SINGLES, F32),
    ("tanh.approx.f32", Words(1), SINGLES, F32),
    ("sin.approx.f32", Words(1), SINGLES, F32),
    ("cos.approx.f32", Words(1), SINGLES, F32),
    ("div.approx.f32", Words(2), SINGLES, F32),
    ("div.full.f32", Words(2), SINGLES, F32),
    ("ex2.approx.f16x2", Words(1), BINARY16, F16x2),
    ("tanh.approx.f16x2", Words(1), BINARY16, F16x2),
    ("ex2.approx.ftz.bf16x2", Words(1), BFLOAT16, Bf16x2),
    ("tanh.approx.bf16x2", Words(1), BFLOAT16, Bf16x2),
];

/// Shape and types, elements of A, B and the sums, registers of the sums, A and B.
type Product = (&'static str, Element, Element, Element, [usize; 3]);

const PRODUCTS: &[Product] = &[
    ("m16n8k8.row.col.f32.f16.f16.f32", F16, F16, Element::F32, [4, 2, 1]),
    ("m16n8k16.row.col.f32.f16.f16.f32", F16, F16, Element::F32, [4, 4, 2]),
    ("m16n8k16.row.col.f16.f16.f16.f16", F16, F16, F16, [2, 4, 2]),
    ("m16n8k8.row.col.f32.bf16.bf16.f32", Bf16, Bf16, Element::F32, [4, 2, 1]),
    ("m16n8k16.row.col.f32.bf16.bf16.f32", Bf16, Bf16, Element::F32, [4, 4, 2]),
    ("m16n8k4.row.col.f32.tf32.tf32.f32", Tf32, Tf32, Element::F32, [4, 2, 1]),
    ("m16n8k8.row.col.f32.tf32.tf32.f32", Tf32, Tf32, Element::F32, [4, 4, 2]),
    ("m16n8k32.row.col.f32.e4m3.e4m3.f32", E4m3, E4m3, Element::F32, [4, 4, 2]),
    ("m16n8k32.row.col.f32.e5m2.e4m3.f32", E5m2, E4m3, Element::F32, [4, 4, 2]),
    ("m8n8k16.row.col.s32.s8.s8.s32", Bits, Bits, S32, [2, 1, 1]),
    ("m16n8k16.row.col.s32.s8.s8.s32", Bits, Bits, S32, [4, 2, 1]),
    ("m16n8k32.row.col.s32.s8.u8.s32", Bits, Bits, S32, [4, 4, 2]),
    ("m16n8k32.row.col.satfinite.s32.u8.u8.s32", Bits, Bits, Bits, [4, 4, 2]),
    ("m16n8k64.row.col.s32.s4.s4.s32", Bits, Bits, S32, [4, 4, 2]),
    ("m16n8k256.row.col.s32.b1.b1.s32.xor.popc", Bits, Bits, S32, [4, 4, 2]),
    ("m16n8k256.row.col.s32.b1.b1.s32.and.popc", Bits, Bits, S32, [4, 4, 2]),
];

const MOVES: &[(&str, &str)] = &[
    ("ldmatrix.sync.aligned.m8n8.x1.shared.b16", "{%0}, [%4]"),
    ("ldmatrix.sync.aligned.m8n8.x2.shared.b16", "{%0, %1}, [%4]"),
    ("ldmatrix.sync.aligned.m8n8.x4.shared.b16", "{%0, %1, %2, %3}, [%4]"),
    ("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16", "{%0}, [%4]"),
    ("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16", "{%0, %1, %2, %3}, [%4]"),
    ("stmatrix.sync.aligned.m8n8.x2.shared.b16", "[%4], {%0, %1}"),
    ("stmatrix.sync.aligned.m8n8.x4.shared.b16", "[%4], {%0, %1, %2, %3}"),
    ("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16", "[%4], {%0, %1, %2, %3}"),
    ("movmatrix.sync.aligned.m8n8.trans.b16", "%0, %0"),
];

/// Where an operand of `wgmma` lies: MN-major, and swizzle, leading and stride offset of its descriptor.
#[derive(Clone, Copy)]
struct Layout {
    name: &'static str,
    mn: bool,
    swizzle: u64,
    leading: u64,
    stride: u64,
}

const fn layout(name: &'static str, mn: bool, swizzle: u64, leading: u64, stride: u64) -> Layout {
    Layout { name, mn, swizzle, leading, stride }
}

/// K-major with 128-byte rows.
const ROWS: Layout = layout("K-major 128B", false, 1, 16, 1024);
const LAYOUTS: [Layout; 8] = [
    ROWS,
    layout("K-major 64B", false, 2, 16, 512),
    layout("K-major 32B", false, 3, 16, 256),
    layout("K-major", false, 0, 128, 256),
    // A span of 64, 32 or 16 columns, or of 8 without a swizzle, has all of K before the next begins.
    layout("MN-major 128B", true, 1, 2048, 1024),
    layout("MN-major 64B", true, 2, 1024, 512),
    layout("MN-major 32B", true, 3, 512, 256),
    layout("MN-major", true, 0, 128, 256),
];

/// Shape and types of a `wgmma`, elements of A, B and the sums, registers of the sums.
type Async = (&'static str, Element, Element, Element, usize);

const ASYNC: &[Async] = &[
    ("m64n128k16.f32.bf16.bf16", Bf16, Bf16, Element::F32, 64),
    ("m64n8k16.f32.bf16.bf16", Bf16, Bf16, Element::F32, 4),
    ("m64n128k16.f32.f16.f16", F16, F16, Element::F32, 64),
    ("m64n128k16.f16.f16.f16", F16, F16, F16, 32),
    ("m64n64k8.f32.tf32.tf32", Tf32, Tf32, Element::F32, 32),
    ("m64n64k32.f32.e4m3.e4m3", E4m3, E4m3, Element::F32, 32),
    ("m64n64k32.f32.e4m3.e5m2", E4m3, E5m2, Element::F32, 32),
    ("m64n64k32.s32.s8.s8", Bits, Bits, S32, 32),
    ("m64n64k32.s32.u8.s8", Bits, Bits, S32, 32),
    ("m64n64k256.s32.b1.b1.and.popc", Bits, Bits, S32, 32),
];

fn list(first: usize, count: usize) -> String {
    let registers: Vec<String> = (first..first + count).map(|register| format!("%{register}")).collect();
    format!("{{{}}}", registers.join(", "))
}

/// Whole numbers leave nothing open; of other floating-point ones the hardware's sums are its own.
fn comparisons(sums: Element) -> Vec<(Numbers, Comparison, &'static str)> {
    let whole = (Numbers::Whole, Exact, "");
    match sums {
        Element::F32 => vec![whole, (Numbers::Rounded, F32, ", rounded")],
        F16 => vec![whole, (Numbers::Rounded, F16x2, ", rounded")],
        _ => vec![whole],
    }
}

fn scalar(name: &str, form: Form) -> String {
    let operands = |count: usize| (1..=count).map(|operand| format!(", %{operand}")).collect::<String>();
    match form {
        Words(count) => format!("{name} %0{};", operands(count)),
        Narrow(count) => format!("{{ .reg .b16 t; {name} t{}; cvt.u32.u16 %0, t; }}", operands(count)),
        Wide => format!("{{ .reg .b16 t; cvt.u16.u32 t, %1; {name} %0, t; }}"),
    }
}

fn product(&(name, a, b, sums, [d, x, y]): &Product) -> impl Iterator<Item = Described> {
    let name = format!("mma.sync.aligned.{name}");
    let sum = list(0, d);
    let ptx = format!("{name} {sum}, {}, {}, {sum};", list(4, x), list(8, y));
    comparisons(sums).into_iter().map(move |(numbers, comparison, suffix)| {
        (format!("{name}{suffix}"), ptx.clone(), Given::Mma { a, b, sums, numbers }, comparison, d)
    })
}

/// A product of 64 rows, A in registers where it has no layout.
fn wgmma(name: &str, sums: usize, a: Option<Layout>, b: Layout) -> String {
    let descriptor = |layout: Layout, offset: u64| {
        let [leading, stride] = [layout.leading, layout.stride].map(|bytes| bytes / 16);
        format!("{:#x}", layout.swizzle << 62 | stride << 32 | leading << 16 | (offset / 16))
    };
    // A lies in the first half of the image, B in the second.
    let mut ptx = "{ .reg .pred p; .reg .b64 a, b; setp.eq.u32 p, 0, 0; ".to_owned();
    let _ = write!(ptx, "add.u64 b, %68, {}; ", descriptor(b, 2 * IMAGE as u64));
    let mut left = list(64, 4);
    if let Some(a) = a {
        let _ = write!(ptx, "add.u64 a, %68, {}; ", descriptor(a, 0));
        left = "a".to_owned();
    }
    let mut flags = String::new();
    if !name.contains(".s32.") {
        flags.push_str(", 1, 1");
    }
    if name.contains("k16") {
        flags.extend(a.map(|a| format!(", {}", u8::from(a.mn))));
        let _ = write!(flags, ", {}", u8::from(b.mn));
    }
    let _ = write!(
        ptx,
        "wgmma.fence.sync.aligned; wgmma.mma_async.sync.aligned.{name} {}, {left}, b, p{flags}; \
         wgmma.commit_group.sync.aligned; wgmma.wait_group.sync.aligned 0; }}",
        list(0, sums)
    );
    ptx
}

/// Every type K-major, with A in shared memory and in registers; one type in every layout.
fn asynchronous() -> Vec<Described> {
    let mut all = Vec::new();
    for (at, &(name, a, b, sums, registers)) in ASYNC.iter().enumerate() {
        let mut places = vec![(Some(ROWS), ROWS), (None, ROWS)];
        if at == 0 {
            places.extend(LAYOUTS.iter().skip(1).flat_map(|&layout| [(Some(ROWS), layout), (Some(layout), ROWS)]));
            places.push((None, LAYOUTS[4]));
        }
        for (left, right) in places {
            let ptx = wgmma(name, registers, left, right);
            let left = left.map_or("registers", |layout| layout.name);
            // A layout moves elements and does not change how they are summed.
            let rounded = usize::from(right.name != ROWS.name || left != ROWS.name);
            for (numbers, comparison, suffix) in comparisons(sums).into_iter().take(2 - rounded) {
                let name = format!("wgmma.mma_async.sync.aligned.{name}, A {left}, B {}{suffix}", right.name);
                all.push((name, ptx.clone(), Given::Wgmma { a, b, sums, numbers }, comparison, registers));
            }
        }
    }
    all
}

/// All opcodes.
pub(super) fn all() -> Vec<Opcode> {
    let scalars =
        SCALARS.iter().map(|&(name, form, given, comparison)| (name.into(), scalar(name, form), given, comparison, 1));
    let moves = MOVES.iter().map(|&(name, rest)| (name.into(), format!("{name} {rest};"), Given::Rows, Exact, 12));
    let groups: [(Group, Vec<Described>); 4] = [
        (Group::Scalar, scalars.collect()),
        (Group::Mma, PRODUCTS.iter().flat_map(product).collect()),
        (Group::Move, moves.collect()),
        (Group::Wgmma, asynchronous()),
    ];
    let mut all: Vec<Opcode> = Vec::new();
    for (group, opcodes) in groups {
        let mut texts: Vec<String> = Vec::new();
        for (name, ptx, inputs, comparison, words) in opcodes {
            let known = texts.iter().position(|text| *text == ptx);
            let number = known.unwrap_or_else(|| {
                texts.push(ptx.clone());
                texts.len() - 1
            });
            all.push(Opcode { name, group, number, ptx, inputs, comparison, words });
        }
    }
    all
}

/// The header that lists the PTX of all opcodes for the kernels.
pub(super) fn header(all: &[Opcode]) -> String {
    let mut text = String::new();
    for (group, name) in
        [(Group::Scalar, "SCALAR"), (Group::Mma, "MMA"), (Group::Move, "MOVE"), (Group::Wgmma, "WGMMA")]
    {
        let _ = write!(text, "#define {name}_OPCODES");
        let mut listed = 0;
        for opcode in all.iter().filter(|opcode| opcode.group == group) {
            if opcode.number == listed {
                let _ = write!(text, " \\\n    OPCODE({listed}, \"{}\")", opcode.ptx);
                listed += 1;
            }
        }
        text.push('\n');
    }
    text
}
