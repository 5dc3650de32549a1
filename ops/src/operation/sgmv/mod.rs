//! Products with low-rank adapters, many of them in one batch: the definitions `sgmv.*`.
//!
//! Rows are grouped in segments, each of which has an adapter or none: `out = y + (x A) B` for the rows of a segment, A of
//! `[h1, rank]` and B of `[rank, h2]` being those of its adapter. Shrinking is the product with A, expanding that with B and the
//! sum.
//!
//! # Layout
//! The weights of all adapters lie in one pool of pages, `[pages, page]`. Entry `j` of an adapter, one of
//! `indptr[adapter]..indptr[adapter + 1]`, is a rank: column `j` of A is the `h1` elements from page `a_index[j]` on, and row `j` of B
//! the `h2` elements from page `b_index[j]` on, over as many pages that follow each other as it takes. With pages of `h1 = h2`
//! elements every one of them is a page, anywhere; with smaller ones `h1` and `h2` may differ. Adapters of different ranks are in
//! one batch without padding, and several may share entries' pages.
//!
//! # Numbers
//! The products `v = x A` are of f32 or better: they are not rounded to bfloat16 before they are expanded, though a kernel may keep
//! as few as 16 bits of each. Weights have to be finite, since a kernel may multiply the parts of a product in v one by one. Pages of
//! nobody, the rest of a row's last page, and columns of v beyond a rank may hold anything.
//!
//! # Source
//! Chen et al., "Punica: Multi-Tenant LoRA Serving", arXiv 2310.18547 (segments); Sheng et al., "S-LoRA: Serving Thousands of
//! Concurrent LoRA Adapters", arXiv 2311.03285 (pages of one pool, ranks of many sizes).

mod batch;
mod draw;

pub use batch::{Batch, Segment};

use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Constraint, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use half::bf16;
use tandem_tensor::{DType, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[&Sgmv(&SHRINK), &Sgmv(&EXPAND), &Sgmv(&FUSED)];

const BATCH: [Axis; 8] = [
    Axis { name: "s", kind: AxisKind::Extent, default: 8, doc: "segments" },
    Axis { name: "n", kind: AxisKind::Drawn, default: 0, doc: "rows of all segments: tokens" },
    Axis { name: "rows", kind: AxisKind::Number, default: 4, doc: "rows of a typical segment of a sample" },
    Axis { name: "adapters", kind: AxisKind::Extent, default: 8, doc: "adapters" },
    Axis { name: "page", kind: AxisKind::Extent, default: 64, doc: "elements of a page" },
    Axis { name: "pages", kind: AxisKind::Drawn, default: 0, doc: "pages of the pool" },
    Axis { name: "entries", kind: AxisKind::Drawn, default: 0, doc: "ranks of all adapters together" },
    Axis { name: "rank", kind: AxisKind::Number, default: 16, doc: "the largest rank of a sample; columns of v" },
];
const H1: Axis = Axis { name: "h1", kind: AxisKind::Extent, default: 4096, doc: "elements of a row of x" };
const H2: Axis = Axis { name: "h2", kind: AxisKind::Extent, default: 4096, doc: "elements of a row of the result" };

const X: Port = Port { name: "x", dtype: DType::BF16, dims: &[Dim::Axis("n"), Dim::Axis("h1")], doc: "rows" };
const V: Port = Port {
    name: "v",
    dtype: DType::F32,
    dims: &[Dim::Axis("n"), Dim::Axis("rank")],
    doc: "products with A: as many of a row as its adapter has ranks",
};
const SEGMENTS: Port = Port {
    name: "segments",
    dtype: DType::I32,
    dims: &[Dim::Plus("s", 1)],
    doc: "where rows of each segment begin, and the end",
};
const ADAPTER: Port =
    Port { name: "adapter", dtype: DType::I32, dims: &[Dim::Axis("s")], doc: "adapter of each segment; -1 for none" };
const POOL: Port =
    Port { name: "pool", dtype: DType::BF16, dims: &[Dim::Axis("pages"), Dim::Axis("page")], doc: "pages of weights" };
const INDPTR: Port = Port {
    name: "indptr",
    dtype: DType::I32,
    dims: &[Dim::Plus("adapters", 1)],
    doc: "where entries of each adapter begin, one for each of its ranks, and the end",
};
const A_INDEX: Port = Port {
    name: "a_index",
    dtype: DType::I32,
    dims: &[Dim::Axis("entries")],
    doc: "the page where the column of A of each entry begins",
};
const B_INDEX: Port = Port {
    name: "b_index",
    dtype: DType::I32,
    dims: &[Dim::Axis("entries")],
    doc: "the page where the row of B of each entry begins",
};
const Y: Port = Port {
    name: "y",
    dtype: DType::BF16,
    dims: &[Dim::Axis("n"), Dim::Axis("h2")],
    doc: "what the products are added to",
};
const OUT: Port = Port {
    name: "out",
    dtype: DType::BF16,
    dims: &[Dim::Axis("n"), Dim::Axis("h2")],
    doc: "the sums; y where there is no adapter",
};

/// Kernels count elements of a row in 32 bits.
fn short(dims: &Dims, axis: &str) -> bool {
    dims.find(axis).is_none_or(|extent| extent <= 1 << 30)
}
const SOME_PAGE: Constraint = Constraint { text: "page > 0", holds: |dims| dims["page"] > 0 };
const SHORT: Constraint = Constraint {
    text: "h1, h2 and rank are at most 2^30",
    holds: |dims| ["h1", "h2", "rank"].into_iter().all(|axis| short(dims, axis)),
};

const FPGA: Grade = Grade::Split("the core multiplies digits of a byte; the host makes them of reals and scales sums");

// A tensor instruction may cut a sum where it should round it: by 2^-24 of it on the mean for each 16 products, which for the 256
// steps of 4096 elements is 1.5e-5.
static SHRINK: OpDef = OpDef {
    name: "sgmv.shrink.bf16",
    summary: "v = x A for rows in segments, each with the A of its adapter; zero beyond its rank",
    axes: &Axis::joined::<9>(&[&BATCH, &[H1]]),
    inputs: &[X, SEGMENTS, ADAPTER, POOL, INDPTR, A_INDEX],
    outputs: &[V],
    holds: &[SOME_PAGE, SHORT],
    agree: Agree::Relative { rms: 2e-5, max: 1e-4 },
    fpga: FPGA,
};

// Sums in 24 bits may come to lie on the other side of a rounding to 8 bits, one unit in the last place away.
static EXPAND: OpDef = OpDef {
    name: "sgmv.expand.bf16",
    summary: "y + v B for rows in segments, each with the B of its adapter",
    axes: &Axis::joined::<9>(&[&BATCH, &[H2]]),
    inputs: &[V, SEGMENTS, ADAPTER, POOL, INDPTR, B_INDEX, Y],
    outputs: &[OUT],
    holds: &[SOME_PAGE, SHORT],
    agree: Agree::Relative { rms: 1e-3, max: 8e-3 },
    fpga: FPGA,
};

static FUSED: OpDef = OpDef {
    name: "sgmv.bf16",
    summary: "y + (x A) B for rows in segments, each with A and B of its adapter",
    axes: &Axis::joined::<10>(&[&BATCH, &[H1, H2]]),
    inputs: &[X, SEGMENTS, ADAPTER, POOL, INDPTR, A_INDEX, B_INDEX, Y],
    outputs: &[OUT],
    holds: &[SOME_PAGE, SHORT],
    agree: Agree::Relative { rms: 1e-3, max: 8e-3 },
    fpga: FPGA,
};

/// One of the three forms.
struct Sgmv(&'static OpDef);

type Extents = &'static [(&'static str, usize)];

const SAMPLES: &[(&str, Extents)] = &[
    ("no_segments", &[("s", 0), ("adapters", 2)]),
    ("no_rows", &[("s", 3), ("rows", 0)]),
    ("no_adapters", &[("s", 3), ("adapters", 0), ("h1", 64), ("h2", 72)]),
    ("empty_rows", &[("s", 3), ("h1", 0), ("h2", 0)]),
    ("empty_segments", &[("s", 5), ("rows", 3)]),
    ("one_row", &[("s", 1), ("rows", 1), ("adapters", 1)]),
    ("one_element", &[("s", 1), ("rows", 1), ("adapters", 1), ("rank", 1), ("h1", 1), ("h2", 1), ("page", 1)]),
    ("no_adapter", &[("s", 5), ("rows", 3), ("adapters", 3)]),
    ("all_without", &[("s", 3), ("rows", 2), ("adapters", 2)]),
    ("rank_zero", &[("s", 4), ("rows", 3), ("adapters", 4)]),
    ("mixed_ranks", &[("s", 6), ("rows", 3), ("adapters", 6), ("rank", 128)]),
    ("odd_ranks", &[("s", 6), ("rows", 5), ("adapters", 6), ("rank", 27)]),
    ("distinct", &[("s", 16), ("rows", 1), ("adapters", 16)]),
    ("identical", &[("s", 1), ("rows", 33), ("adapters", 3)]),
    ("zipf", &[("s", 8), ("rows", 6)]),
    ("skewed", &[("s", 6), ("rows", 8), ("adapters", 6), ("rank", 32)]),
    ("repeated", &[("s", 6), ("rows", 4), ("adapters", 3)]),
    ("mixed_lengths", &[("s", 8), ("rows", 70), ("adapters", 4), ("rank", 96), ("h1", 256), ("h2", 200)]),
    ("long_segment", &[("s", 1), ("rows", 150), ("adapters", 1), ("rank", 8)]),
    ("ragged", &[("s", 7), ("rows", 9), ("adapters", 5), ("rank", 40), ("h1", 264), ("h2", 136), ("page", 8)]),
    ("unaligned", &[("s", 4), ("rows", 5), ("adapters", 4), ("h1", 77), ("h2", 131), ("page", 131)]),
    ("unaligned_pages", &[("s", 4), ("rows", 2), ("adapters", 3), ("h1", 64), ("h2", 96), ("page", 3)]),
    ("whole_pages", &[("s", 4), ("rows", 2), ("adapters", 4), ("h1", 512), ("h2", 512), ("page", 512)]),
    ("deep", &[("s", 2), ("rows", 2), ("adapters", 2), ("h1", 4096), ("h2", 64)]),
    ("wide", &[("s", 2), ("rows", 2), ("adapters", 2), ("h1", 64), ("h2", 4096)]),
    ("large", &[("s", 3), ("rows", 3), ("adapters", 3)]),
    ("nan_and_inf", &[("s", 3), ("rows", 4), ("adapters", 3), ("rank", 3)]),
];

/// What the samples have where they say nothing else.
const SMALL: Extents = &[("h1", 128), ("h2", 128)];

impl Sgmv {
    fn make(&self, name: &'static str, extents: &[&[(&'static str, usize)]]) -> Sample {
        let all = extents.iter().flat_map(|extents| extents.iter().copied());
        let known: Vec<_> = all.filter(|(axis, _)| self.0.axes.iter().any(|other| other.name == *axis)).collect();
        Sample::new(self.0, name, &known)
    }

    fn has(&self, port: &str) -> bool {
        self.0.input(port).is_some()
    }
}

impl Operation for Sgmv {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        SAMPLES.iter().map(|(name, extents)| self.make(name, &[SMALL, extents])).collect()
    }

    /// The rows of a batch of decoding steps, by how popular adapters are, and of a prefill.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (s, h) = match size {
            Size::Simulator => (8, 512),
            Size::Processor => (256, 4096),
            Size::Gpu => (64, 4096),
        };
        let usual = [("s", s), ("rows", 1), ("adapters", s), ("h1", h), ("h2", h), ("page", h)];
        let mut all = vec![
            self.make("distinct", &[&usual]),
            self.make("identical", &[&usual, &[("s", 1), ("rows", s)]]),
            self.make("zipf", &[&usual, &[("s", s / 4), ("rows", 4)]]),
        ];
        if size != Size::Simulator {
            all.push(self.make("mixed_ranks", &[&usual, &[("s", 64), ("adapters", 64), ("rank", 128)]]));
            all.push(self.make("prefill", &[&usual, &[("s", 4), ("rows", 512), ("adapters", 4)]]));
        }
        if size == Size::Gpu {
            all.push(self.make("many_distinct", &[&usual, &[("s", 1024), ("adapters", 1024)]]));
        }
        all
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        self.0.constrain(dims)?;
        let mut random = Random::new(seed);
        let (rows, adapter, ranks, tables) = draw::tables(name, dims, &mut random);
        let n = rows.iter().sum::<usize>();
        let h: Vec<_> = [("a_index", "h1"), ("b_index", "h2")]
            .into_iter()
            .filter(|(port, _)| self.has(port))
            .map(|(port, axis)| (port, dims[axis]))
            .collect();
        let pool = draw::pool(&mut random, ranks.iter().sum(), &h, dims["page"]);
        let mut all =
            tables.iter().chain(pool.iter()).map(|(port, tensor)| (port, tensor.clone())).collect::<Tensors>();
        if self.has("x") {
            all = all.with("x", draw::x(name, &mut random, n, dims["h1"]));
        } else {
            all = all.with("v", draw::v(name, &mut random, &rows, &adapter, &ranks, dims["rank"]));
        }
        if self.has("y") {
            all = all.with("y", random.normal_tensor(DType::BF16, [n, dims["h2"]], 1.0));
        }
        Ok(all)
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let most = (!self.has("x") || !self.has("y")).then(|| dims["rank"]);
        batch::check(self.0.name, dims, inputs, most)
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let batch = Batch::of(dims, inputs)?;
        let (n, width) = (dims["n"], dims["rank"]);
        let v: Vec<Vec<f64>> = if self.has("x") {
            shrunk(&batch, n, inputs.slice("x")?)
        } else {
            inputs.get("v")?.to_f64().chunks(width.max(1)).map(<[f64]>::to_vec).collect()
        };
        if !self.has("y") {
            let row =
                |row: &Vec<f64>| row.iter().copied().chain(std::iter::repeat(0.0)).take(width).collect::<Vec<_>>();
            let values: Vec<f64> = v.iter().flat_map(row).collect();
            return Ok(Tensors::new().with("v", Tensor::from_f64(DType::F32, [n, width], &values)?));
        }
        let mut out = inputs.get("y")?.to_f64();
        for segment in &batch.segments {
            let weights: Vec<Vec<f64>> = batch.entries(segment).map(|entry| reals(batch.b_row(entry))).collect();
            for row in segment.rows.clone() {
                let out = &mut out[row * batch.h2..][..batch.h2];
                for (column, out) in out.iter_mut().enumerate() {
                    *out +=
                        weights.iter().zip(v.get(row).into_iter().flatten()).map(|(b, v)| b[column] * v).sum::<f64>();
                }
            }
        }
        Ok(Tensors::new().with("out", Tensor::from_f64(DType::BF16, [n, batch.h2], &out)?))
    }

    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        let Ok(batch) = Batch::of(dims, inputs) else { return Work::default() };
        let (pairs, ranks) = batch.ranks();
        let elements = (batch.h1 + batch.h2) as u64;
        let with: usize =
            batch.segments.iter().filter(|of| !batch.entries(of).is_empty()).map(|of| of.rows.len()).sum();
        // Rows of x are of no use without an adapter; results are there all the same.
        let mut rows = (2 * with * batch.h1 + 4 * dims["n"] * batch.h2) as u64;
        if !(self.has("x") && self.has("y")) {
            rows += 4 * if self.has("x") { (dims["n"] * dims["rank"]) as u64 } else { pairs };
        }
        let tables: usize = ["segments", "adapter"].iter().filter_map(|port| inputs.find(port)).map(Tensor::len).sum();
        let index = 4 * ranks * (u64::from(self.has("a_index")) + u64::from(self.has("b_index")));
        Work {
            flops: 2 * pairs * elements,
            dram_bytes: 2 * ranks * elements + rows + index + 4 * tables as u64,
            ..Work::default()
        }
    }
}

/// The products of every row with A of its adapter.
fn shrunk(batch: &Batch<'_>, n: usize, x: &[bf16]) -> Vec<Vec<f64>> {
    let mut v = vec![Vec::new(); n];
    for segment in &batch.segments {
        let weights: Vec<Vec<f64>> = batch.entries(segment).map(|entry| reals(batch.a_row(entry))).collect();
        for row in segment.rows.clone() {
            let x = reals(&x[row * batch.h1..][..batch.h1]);
            v[row] = weights.iter().map(|a| a.iter().zip(&x).map(|(a, x)| a * x).sum()).collect();
        }
    }
    v
}

fn reals(all: &[bf16]) -> Vec<f64> {
    all.iter().map(|x| x.to_f64()).collect()
}

#[cfg(test)]
mod tests;
