//! Attention where a sparse matrix of blocks says what is seen: `attention.block_sparse.bf16` with blocks of one size, and
//! `attention.variable_block_sparse.bf16` with blocks of any sizes, for each head of the keys its own.
//!
//! A row of blocks is a request: its columns of blocks are its pages.

use super::check::{masks, scalar};
use super::{
    AGREE, Batch, FPGA, HEADS, INDICES, MASK, Request, SCALE, SOFT_CAP, SOME_HEADS, Span, Store, WHOLE_GROUPS,
};
use super::{draw, integers, work};
use crate::OpError;
use crate::def::{Axis, AxisKind, Constraint, Dim, Dims, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work};
use crate::operation::check::{offsets, within, wrong};
use tandem_tensor::{DType, Tensor};

/// Blocks of one size.
pub(super) struct Blocks;

/// Blocks of any sizes.
pub(super) struct VariableBlocks;

const M: Axis = Axis { name: "m", kind: AxisKind::Extent, default: 128, doc: "rows of queries" };
const N: Axis = Axis { name: "n", kind: AxisKind::Extent, default: 128, doc: "positions of keys and values" };
const ROW: &[Dim] = &[Dim::Axis("m"), Dim::Axis("hq"), Dim::Axis("d")];
const POSITION: &[Dim] = &[Dim::Axis("n"), Dim::Axis("hkv"), Dim::Axis("d")];
const Q: Port = Port { name: "q", dtype: DType::BF16, dims: ROW, doc: "queries" };
const K: Port = Port { name: "k", dtype: DType::BF16, dims: POSITION, doc: "keys" };
const V: Port = Port { name: "v", dtype: DType::BF16, dims: POSITION, doc: "values" };
const O: Port = Port { name: "o", dtype: DType::BF16, dims: ROW, doc: super::O.doc };
const LSE: Port =
    Port { name: "lse", dtype: DType::F32, dims: &[Dim::Axis("m"), Dim::Axis("hq")], doc: super::LSE.doc };
const DENSITY: Axis = Axis {
    name: "percent",
    kind: AxisKind::Number,
    default: 50,
    doc: "blocks of a sample that are seen, of a hundred",
};

static BLOCKS: OpDef = OpDef {
    name: "attention.block_sparse.bf16",
    summary: "softmax(scale q kᵀ) v over the blocks of a sparse matrix, r rows by c positions each",
    axes: &Axis::joined::<12>(&[
        &[M, N],
        &HEADS,
        &[
            Axis { name: "r", kind: AxisKind::Number, default: 16, doc: "rows of a block" },
            Axis { name: "c", kind: AxisKind::Number, default: 16, doc: "positions of a block" },
            Axis { name: "entries", kind: AxisKind::Drawn, default: 0, doc: "blocks" },
            Axis {
                name: "mask",
                kind: AxisKind::Choice(&["none", "custom"]),
                default: 0,
                doc: "whether a mask hides positions of a block",
            },
            Axis { name: "mask_bytes", kind: AxisKind::Drawn, default: 0, doc: "bytes of the masks" },
            Axis {
                name: "logits",
                kind: AxisKind::Choice(&["plain", "soft_cap"]),
                default: 0,
                doc: "what becomes of scores",
            },
            DENSITY,
        ],
    ]),
    inputs: &[
        Q,
        K,
        V,
        Port {
            name: "indptr",
            dtype: DType::I32,
            dims: &[Dim::Of("m / r + 1", |dims| dims["m"] / dims["r"].max(1) + 1)],
            doc: "where blocks of each row of blocks begin in indices, and the end",
        },
        Port { name: "indices", dtype: DType::I32, dims: INDICES.dims, doc: "columns of blocks" },
        SCALE,
        SOFT_CAP,
        MASK,
        Port {
            name: "mask_indptr",
            dtype: DType::I32,
            dims: &[Dim::Of("m / r + 1 where mask is custom", |dims| {
                if dims["mask"] == 1 { dims["m"] / dims["r"].max(1) + 1 } else { 0 }
            })],
            doc: "the byte where the mask of each row of blocks begins, of a bit for each of its rows and positions in order",
        },
    ],
    outputs: &[O, LSE],
    holds: &[
        SOME_HEADS,
        WHOLE_GROUPS,
        Constraint { text: "r > 0 and c > 0", holds: |dims| dims["r"] > 0 && dims["c"] > 0 },
        Constraint { text: "m % r == 0", holds: |dims| dims["m"].is_multiple_of(dims["r"].max(1)) },
        Constraint { text: "n % c == 0", holds: |dims| dims["n"].is_multiple_of(dims["c"].max(1)) },
    ],
    agree: AGREE,
    fpga: FPGA,
};

static VARIABLE: OpDef = OpDef {
    name: "attention.variable_block_sparse.bf16",
    summary: "softmax(scale q kᵀ) v over the blocks that a map of each head shows, of any sizes",
    axes: &Axis::joined::<9>(&[
        &[M, N],
        &HEADS,
        &[
            Axis { name: "rb", kind: AxisKind::Extent, default: 6, doc: "rows of blocks" },
            Axis { name: "cb", kind: AxisKind::Extent, default: 8, doc: "columns of blocks" },
            Axis {
                name: "logits",
                kind: AxisKind::Choice(&["plain", "soft_cap"]),
                default: 0,
                doc: "what becomes of scores",
            },
            DENSITY,
        ],
    ]),
    inputs: &[
        Q,
        K,
        V,
        Port {
            name: "block_rows",
            dtype: DType::I32,
            dims: &[Dim::Axis("hkv"), Dim::Axis("rb")],
            doc: "rows of each row of blocks",
        },
        Port {
            name: "block_columns",
            dtype: DType::I32,
            dims: &[Dim::Axis("hkv"), Dim::Axis("cb")],
            doc: "positions of each column of blocks",
        },
        Port {
            name: "map",
            dtype: DType::U8,
            dims: &[Dim::Axis("hkv"), Dim::Axis("rb"), Dim::Axis("cb")],
            doc: "1 where a block is seen, else 0",
        },
        SCALE,
        SOFT_CAP,
    ],
    outputs: &[O, LSE],
    holds: &[
        SOME_HEADS,
        WHOLE_GROUPS,
        Constraint { text: "rb > 0 and cb > 0", holds: |dims| dims["rb"] > 0 && dims["cb"] > 0 },
    ],
    agree: AGREE,
    fpga: FPGA,
};

fn batch<'a>(dims: &Dims, inputs: &'a Tensors, requests: Vec<Request>, store: Store<'a>) -> Result<Batch<'a>, OpError> {
    Ok(Batch {
        q_heads: dims["hq"],
        kv_heads: dims["hkv"],
        d: dims["d"],
        scale: inputs.scalar("scale")?,
        span: Span::ALL,
        requests,
        rows: dims["m"],
        q: inputs.slice("q")?,
        store,
    })
}

/// Rows of blocks as requests, columns of blocks as pages.
pub(super) fn blocks<'a>(dims: &Dims, inputs: &'a Tensors) -> Result<Batch<'a>, OpError> {
    let (r, c) = (dims["r"], dims["c"]);
    let indptr = inputs.slice::<i32>("indptr")?;
    let begins: &[i32] = if dims["mask"] == 1 { inputs.slice("mask_indptr")? } else { &[] };
    let requests = indptr.windows(2).enumerate().map(|(at, pair)| Request {
        rows: at * r..(at + 1) * r,
        kv: (pair[1] - pair[0]) as usize * c,
        first: pair[0] as usize,
        heads: 0..dims["hkv"],
        mask: begins.get(at).map_or(0, |&begin| begin as usize),
    });
    let store = Store {
        k: inputs.slice("k")?.into(),
        v: inputs.slice("v")?.into(),
        line: dims["hkv"] * dims["d"],
        table: Some(inputs.slice::<i32>("indices")?.into()),
        page: c,
        page_lines: c,
        pages: dims["n"] / c,
    };
    batch(dims, inputs, requests.collect(), store)
}

/// A request for every head of the keys and row of blocks, with a page of one position for each position that it sees.
pub(super) fn variable_blocks<'a>(dims: &Dims, inputs: &'a Tensors) -> Result<Batch<'a>, OpError> {
    let (rb, cb) = (dims["rb"], dims["cb"]);
    let (rows, columns) = (inputs.slice::<i32>("block_rows")?, inputs.slice::<i32>("block_columns")?);
    let map = inputs.slice::<u8>("map")?;
    let (mut requests, mut table) = (Vec::new(), Vec::new());
    for head in 0..dims["hkv"] {
        let mut row = 0;
        for at in 0..rb {
            let end = row + rows[head * rb + at] as usize;
            let first = table.len();
            let mut position = 0;
            for column in 0..cb {
                let next = position + columns[head * cb + column];
                if map[(head * rb + at) * cb + column] != 0 {
                    table.extend(position..next);
                }
                position = next;
            }
            requests.push(Request { rows: row..end, kv: table.len() - first, first, heads: head..head + 1, mask: 0 });
            row = end;
        }
    }
    let store = Store {
        k: inputs.slice("k")?.into(),
        v: inputs.slice("v")?.into(),
        line: dims["hkv"] * dims["d"],
        table: Some(table.into()),
        page: 1,
        page_lines: 1,
        pages: dims["n"],
    };
    batch(dims, inputs, requests, store)
}

/// The operands that both forms have.
fn operands(random: &mut Random, dims: &Dims) -> Tensors {
    let (m, n, hq, hkv, d) = (dims["m"], dims["n"], dims["hq"], dims["hkv"], dims["d"]);
    Tensors::new()
        .with("q", draw::heads(random, [m, hq, d]))
        .with("k", draw::heads(random, [n, hkv, d]))
        .with("v", draw::heads(random, [n, hkv, d]))
        .with("scale", draw::scale(dims))
        .with("soft_cap", Tensor::scalar(2.5f32))
}

fn seen(random: &mut Random, name: &str, row: usize, dims: &Dims) -> bool {
    random.unit() * 100.0 < dims["percent"] as f64 && !(name == "empty_rows" && row.is_multiple_of(2))
}

impl Operation for Blocks {
    fn def(&self) -> &'static OpDef {
        &BLOCKS
    }

    fn samples(&self) -> Vec<Sample> {
        let small = [("hq", 4), ("hkv", 2), ("d", 64)];
        let all: [(&'static str, &[(&'static str, usize)]); 9] = [
            ("no_rows", &[("m", 0)]),
            ("no_positions", &[("m", 32), ("n", 0)]),
            ("empty_rows", &[("m", 64), ("n", 64), ("r", 4), ("c", 4)]),
            ("single", &[("m", 12), ("n", 61), ("r", 1), ("c", 1)]),
            ("rows_of_one", &[("m", 24), ("n", 96), ("r", 1), ("c", 16)]),
            ("positions_of_one", &[("m", 48), ("n", 50), ("r", 16), ("c", 1)]),
            ("dense", &[("m", 64), ("n", 96), ("percent", 100)]),
            ("soft_cap", &[("m", 80), ("n", 96), ("r", 40), ("c", 12), ("logits", 1)]),
            ("masked_blocks", &[("m", 48), ("n", 64), ("mask", 1)]),
        ];
        all.map(|(name, extents)| Sample::new(&BLOCKS, name, &[&small, extents].concat())).into()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (m, block) = match size {
            Size::Simulator => (32, 16),
            Size::Processor => (512, 32),
            Size::Gpu => (8192, 64),
        };
        vec![Sample::new(&BLOCKS, "half", &[("m", m), ("n", m), ("r", block), ("c", block)])]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        BLOCKS.constrain(dims)?;
        let mut random = Random::new(seed);
        let inputs = operands(&mut random, dims);
        let (rows, columns) = (dims["m"] / dims["r"], dims["n"] / dims["c"]);
        let (mut indices, mut counts) = (Vec::new(), Vec::new());
        for row in 0..rows {
            let mut own: Vec<i32> = (0..columns as i32).filter(|_| seen(&mut random, name, row, dims)).collect();
            // The order of blocks in a row is free.
            random.shuffle(&mut own);
            counts.push(own.len());
            indices.extend(own);
        }
        let sizes: Vec<_> = counts.iter().map(|count| (dims["r"], count * dims["c"])).collect();
        let (mask, begins) = if dims["mask"] == 1 { draw::masks(name, &mut random, &sizes) } else { draw::no_masks() };
        Ok(inputs
            .with("indptr", draw::offsets(&counts))
            .with("indices", integers(indices))
            .with("mask", mask)
            .with("mask_indptr", begins))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let name = BLOCKS.name;
        offsets(name, inputs, "indptr", dims["entries"])?;
        within(name, inputs, "indices", dims["n"] / dims["c"])?;
        scalar(name, inputs, "scale", false)?;
        scalar(name, inputs, "soft_cap", true)?;
        if dims["mask"] == 1 {
            let pairs = inputs.slice::<i32>("indptr")?.windows(2);
            masks(name, inputs, pairs.map(|pair| (dims["r"], (pair[1] - pair[0]) as usize * dims["c"])))?;
        }
        Ok(())
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        super::reference::reference(&BLOCKS, dims, inputs, &[blocks(dims, inputs)?])
    }

    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        blocks(dims, inputs).map_or(Work::default(), |batch| work(dims, inputs, &[batch]))
    }
}

impl Operation for VariableBlocks {
    fn def(&self) -> &'static OpDef {
        &VARIABLE
    }

    fn samples(&self) -> Vec<Sample> {
        let small = [("hq", 4), ("hkv", 2), ("d", 64)];
        let all: [(&'static str, &[(&'static str, usize)]); 6] = [
            ("no_rows", &[("m", 0), ("n", 30)]),
            ("empty_rows", &[("m", 50), ("n", 61)]),
            ("few", &[("m", 70), ("n", 90), ("percent", 20)]),
            ("most", &[("m", 70), ("n", 90), ("percent", 90)]),
            ("one_block", &[("m", 33), ("n", 47), ("rb", 1), ("cb", 1), ("percent", 100)]),
            ("soft_cap", &[("m", 61), ("n", 130), ("hq", 7), ("hkv", 1), ("d", 128), ("logits", 1), ("percent", 70)]),
        ];
        all.map(|(name, extents)| Sample::new(&VARIABLE, name, &[&small, extents].concat())).into()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (m, blocks) = match size {
            Size::Simulator => (32, 4),
            Size::Processor => (512, 16),
            Size::Gpu => (8192, 64),
        };
        vec![Sample::new(&VARIABLE, "half", &[("m", m), ("n", m), ("rb", blocks), ("cb", blocks)])]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        VARIABLE.constrain(dims)?;
        let mut random = Random::new(seed);
        let inputs = operands(&mut random, dims);
        let (hkv, rb, cb) = (dims["hkv"], dims["rb"], dims["cb"]);
        // Cuts at random places; a block may be empty.
        let mut sizes = |total: usize, blocks: usize| {
            let mut all = Vec::new();
            for _ in 0..hkv {
                let mut cuts: Vec<usize> = (1..blocks).map(|_| random.within(0, total + 1)).collect();
                cuts.extend([0, total]);
                cuts.sort_unstable();
                all.extend(cuts.windows(2).map(|pair| (pair[1] - pair[0]) as i32));
            }
            all
        };
        let (rows, columns) = (sizes(dims["m"], rb), sizes(dims["n"], cb));
        let map: Vec<u8> = (0..hkv * rb * cb).map(|at| u8::from(seen(&mut random, name, at / cb, dims))).collect();
        Ok(inputs
            .with("block_rows", Tensor::from_vec([hkv, rb], rows)?)
            .with("block_columns", Tensor::from_vec([hkv, cb], columns)?)
            .with("map", Tensor::from_vec([hkv, rb, cb], map)?))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let name = VARIABLE.name;
        for (port, blocks, total) in [("block_rows", dims["rb"], dims["m"]), ("block_columns", dims["cb"], dims["n"])] {
            let sizes = inputs.slice::<i32>(port)?;
            if let Some(at) = sizes.iter().position(|&size| size < 0) {
                return Err(wrong(name, port, at, format!("is {}, not a size", sizes[at])));
            }
            for head in 0..dims["hkv"] {
                let sum: i64 = sizes[head * blocks..][..blocks].iter().map(|&size| i64::from(size)).sum();
                if sum != total as i64 {
                    let text = format!("begins sizes of head {head} whose sum is {sum}, not {total}");
                    return Err(wrong(name, port, head * blocks, text));
                }
            }
        }
        if let Some(at) = inputs.slice::<u8>("map")?.iter().position(|&bit| bit > 1) {
            return Err(wrong(name, "map", at, "is neither 0 nor 1"));
        }
        scalar(name, inputs, "scale", false)?;
        scalar(name, inputs, "soft_cap", true)
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        super::reference::reference(&VARIABLE, dims, inputs, &[variable_blocks(dims, inputs)?])
    }

    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        variable_blocks(dims, inputs).map_or(Work::default(), |batch| work(dims, inputs, &[batch]))
    }
}
