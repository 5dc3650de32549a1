//! New keys and values at the end of their requests: `attention.append.bf16`, and `attention.append_kv4.bf16` as codes. Both are exact.

use super::check::PAGES;
use super::kv4::{self, CODES, SCALES, WHOLE_BYTES};
use super::{HEADS, INDICES, INDPTR, KV, LAST_PAGE_LEN, PAGE_AXES, SOME_HEADS, SOME_PAGE, draw};
use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use crate::lowbit::Asymmetric;
use crate::operation::check::{offsets, wrong};
use half::bf16;
use tandem_tensor::{DType, Tensor};

/// One of the definitions.
pub(super) struct Append(&'static OpDef);

pub(super) static ALL: [Append; 2] = [Append(&APPEND), Append(&APPEND_KV4)];

const NEW: &[Dim] = &[Dim::Axis("n"), Dim::Axis("hkv"), Dim::Axis("d")];
const K: Port = Port { name: "k", dtype: DType::BF16, dims: NEW, doc: "new keys" };
const V: Port = Port { name: "v", dtype: DType::BF16, dims: NEW, doc: "new values" };
const BEGINS: Port = Port {
    name: "append_indptr",
    dtype: DType::I32,
    dims: &[Dim::Plus("b", 1)],
    doc: "where new positions of each request begin, and the end",
};

const AXES: [Axis; 9] = Axis::joined(&[
    &[
        Axis { name: "b", kind: AxisKind::Extent, default: 8, doc: "requests" },
        Axis { name: "n", kind: AxisKind::Drawn, default: 0, doc: "new positions of all requests" },
        HEADS[1],
        HEADS[2],
    ],
    &PAGE_AXES,
    &[
        Axis { name: "new", kind: AxisKind::Number, default: 4, doc: "new positions of a typical request of a sample" },
        Axis { name: "kv", kind: AxisKind::Number, default: 64, doc: "positions before them" },
    ],
]);

static APPEND: OpDef = OpDef {
    name: "attention.append.bf16",
    summary: "writes new keys and values as the last positions of their requests, whose page table counts them already",
    axes: &AXES,
    inputs: &[K, V, BEGINS, KV, INDPTR, INDICES, LAST_PAGE_LEN],
    outputs: &[Port { name: "appended", doc: "the pages with the new positions", ..KV }],
    holds: &[SOME_PAGE],
    agree: Agree::Exact,
    fpga: Grade::ReferenceOnly("pages of the cache are in the memory of whoever attends to them"),
};

static APPEND_KV4: OpDef = OpDef {
    name: "attention.append_kv4.bf16",
    summary: "writes new keys and values as codes of four bits, with a scale and a zero for each position and head",
    axes: &AXES,
    inputs: &[K, V, BEGINS, CODES, SCALES, INDPTR, INDICES, LAST_PAGE_LEN],
    outputs: &[
        Port { name: "appended", doc: "the pages with the new positions", ..CODES },
        Port { name: "appended_scale", doc: "the scales and zeros with those of the new positions", ..SCALES },
    ],
    holds: &[SOME_HEADS, SOME_PAGE, WHOLE_BYTES],
    agree: Agree::Exact,
    fpga: Grade::ReferenceOnly("the ends of a row and its scale need a float unit, which the core lacks"),
};

/// The line, in units of a position's heads, that each new key is written to; values lie `page` lines behind.
///
/// # Errors
/// Invalid for operands of another definition; they have to be bound and checked.
pub(crate) fn lines(dims: &Dims, inputs: &Tensors) -> Result<Vec<usize>, OpError> {
    let page = dims["page"];
    let (begins, indices) = (inputs.slice::<i32>("append_indptr")?, inputs.slice::<i32>("indices")?);
    let mut lines = Vec::with_capacity(dims["n"]);
    for (pair, (kv, first)) in begins.windows(2).zip(PAGES.lengths(inputs, page)?) {
        let new = (pair[1] - pair[0]) as usize;
        lines.extend((kv - new..kv).map(|at| indices[first + at / page] as usize * 2 * page + at % page));
    }
    Ok(lines)
}

impl Append {
    fn coded(&self) -> bool {
        self.0.input(SCALES.name).is_some()
    }
}

/// Requests, heads, elements, positions of a page, new positions of a request, positions before them.
type Extents = [usize; 6];

const USUAL: &[(&str, Extents)] = &[
    ("no_requests", [0, 2, 64, 8, 2, 5]),
    ("nothing_new", [3, 2, 64, 8, 0, 5]),
    ("first_positions", [3, 2, 64, 8, 11, 0]),
    ("one_each", [5, 4, 128, 16, 1, 40]),
    ("one_token_page", [3, 2, 64, 1, 5, 3]),
    ("across_pages", [4, 2, 128, 5, 13, 9]),
    ("ragged", [6, 3, 80, 16, 9, 30]),
];
const NUMBERS: &[(&str, Extents)] = &[("unaligned", [3, 3, 7, 4, 6, 5])];
const ROWS: &[(&str, Extents)] = &[
    ("unaligned", [3, 3, 10, 4, 6, 5]),
    ("one_byte", [3, 3, 2, 4, 6, 5]),
    ("wide_heads", [2, 2, 584, 4, 3, 5]),
    ("constant_rows", [3, 2, 64, 4, 6, 5]),
    ("extremes", [3, 5, 32, 4, 6, 5]),
    ("tiny", [3, 2, 24, 4, 6, 5]),
    ("ties", [3, 2, 64, 4, 6, 5]),
    ("nan_and_inf", [3, 2, 40, 4, 6, 5]),
];

impl Operation for Append {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        let names = ["b", "hkv", "d", "page", "new", "kv"];
        let make = |&(name, dims): &(&'static str, Extents)| {
            Sample::new(self.0, name, &std::array::from_fn::<_, 6, _>(|i| (names[i], dims[i])))
        };
        USUAL.iter().chain(if self.coded() { ROWS } else { NUMBERS }).map(make).collect()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (b, new) = match size {
            Size::Simulator => (4, 2),
            Size::Processor => (16, 64),
            Size::Gpu => (64, 256),
        };
        vec![Sample::new(self.0, "usual", &[("b", b), ("new", new)])]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        self.0.constrain(dims)?;
        let (b, hkv, d, page) = (dims["b"], dims["hkv"], dims["d"], dims["page"]);
        let mut random = Random::new(seed);
        let new = draw::rows(name, &mut random, b, dims["new"]);
        let kv: Vec<usize> = new.iter().map(|new| new + dims["kv"]).collect();
        let count = new.iter().sum();
        let [table] = <[draw::Paged; 1]>::try_from(draw::tables(&mut random, &[&kv], page)).ok().expect("one level");
        let (mut k, mut v) = (draw::heads(&mut random, [count, hkv, d]), draw::heads(&mut random, [count, hkv, d]));
        let pages = draw::pages(&mut random, &table.filled, page, hkv, d);
        let mut inputs = Tensors::new();
        if self.coded() {
            (k, v) = (kv4::shape_rows(name, &mut random, k, d)?, kv4::shape_rows(name, &mut random, v, d)?);
            let (codes, scales) = kv4::quantized(&pages)?;
            inputs = inputs.with(CODES.name, codes).with(SCALES.name, scales);
        } else {
            inputs = inputs.with("kv", pages);
        }
        Ok(inputs
            .with("k", k)
            .with("v", v)
            .with("append_indptr", draw::offsets(&new))
            .with("indptr", table.indptr)
            .with("indices", table.indices)
            .with("last_page_len", table.last_page_len))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let name = self.0.name;
        offsets(name, inputs, "append_indptr", dims["n"])?;
        PAGES.check(name, inputs, dims["pages"], dims["page"])?;
        let begins = inputs.slice::<i32>("append_indptr")?;
        for (at, (pair, (kv, _))) in begins.windows(2).zip(PAGES.lengths(inputs, dims["page"])?).enumerate() {
            if (pair[1] - pair[0]) as usize > kv {
                let text = format!("ends {} new positions of a request that has {kv}", pair[1] - pair[0]);
                return Err(wrong(name, "append_indptr", at + 1, text));
            }
        }
        // Two positions in one place have no order.
        let mut taken = std::collections::HashSet::new();
        match lines(dims, inputs)?.into_iter().position(|line| !taken.insert(line)) {
            Some(at) => Err(wrong(name, "k", at, "goes where one before it goes: a page is twice in indices")),
            None => Ok(()),
        }
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let (page, hkv, d) = (dims["page"], dims["hkv"], dims["d"]);
        let line = hkv * d;
        let (k, v) = (inputs.slice::<bf16>("k")?, inputs.slice::<bf16>("v")?);
        let shape = inputs.get("kv")?.shape().clone();
        if !self.coded() {
            let mut kv = inputs.slice::<bf16>("kv")?.to_vec();
            for (at, to) in lines(dims, inputs)?.into_iter().enumerate() {
                kv[to * line..][..line].copy_from_slice(&k[at * line..][..line]);
                kv[(to + page) * line..][..line].copy_from_slice(&v[at * line..][..line]);
            }
            return Ok(Tensors::new().with("appended", Tensor::from_vec(shape, kv)?));
        }
        let (mut codes, mut scales) = (inputs.slice::<u8>("kv")?.to_vec(), inputs.slice::<bf16>("kv_scale")?.to_vec());
        for (at, to) in lines(dims, inputs)?.into_iter().enumerate() {
            for (from, to) in [(k, to), (v, to + page)] {
                for head in 0..hkv {
                    let (from, codes) = (&from[at * line..], &mut codes[to * line / 2..]);
                    let form = Asymmetric::quantize(&from[head * d..][..d], &mut codes[head * d / 2..][..d / 2]);
                    let of = kv4::scale_row(to, head, hkv, page);
                    (scales[2 * of], scales[2 * of + 1]) = (form.scale, form.zero);
                }
            }
        }
        let scale_shape = inputs.get("kv_scale")?.shape().clone();
        Ok(Tensors::new()
            .with("appended", Tensor::from_vec(shape, codes)?)
            .with("appended_scale", Tensor::from_vec(scale_shape, scales)?))
    }

    /// The pages stay where they are: only what is new moves.
    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        let (rows, d) = ((2 * dims["n"] * dims["hkv"]) as u64, dims["d"] as u64);
        let ports = ["append_indptr", "indptr", "indices", "last_page_len"];
        let tables: usize = ports.iter().filter_map(|port| inputs.find(port)).map(Tensor::len).sum();
        let (written, flops) = if self.coded() {
            // Two comparisons, two products, a difference and a rounding.
            (rows * (d / 2 + 4), 6 * rows * d)
        } else {
            (rows * 2 * d, 0)
        };
        Work { flops, dram_bytes: rows * 2 * d + written + 4 * tables as u64, ..Work::default() }
    }
}
