//! Attention, its state and its cache: the definitions `attention.*`.
//!
//! # State
//! A row of a head has a result `o` and the logarithm to base 2 of its sum of weights, `lse = log2 Σ 2^(x log2 e)` of its scores
//! `x`. Two states of different positions merge into the state of all of them ([`state`]); so work on one row can be split,
//! and shared. A row that sees nothing has `o = 0` and `lse = -inf`. Without a softmax the weights are not divided by their sum,
//! states are added, and `lse` is 0.
//!
//! # Layout
//! A page holds `page` positions: `[pages, 2, page, hkv, d]`, keys first. Request `i` has the pages
//! `indices[indptr[i]..indptr[i + 1]]`, of which the last has `last_page_len[i]` positions. Rows of a request are aligned to the end
//! of its positions, for causality and for windows.
//!
//! # Numbers
//! Scores, weights and sums are of f32 or better. Positions that a request does not have, and pages of nobody, may hold anything.
//! Values at positions that a mask hides have to be finite: kernels may multiply them by zero.
//!
//! # Source
//! Ye et al., "FlashInfer: Efficient and Customizable Attention Engine for LLM Inference Serving", arXiv 2501.01005; the layouts
//! of pages, ragged tensors and masks are those of its interface.

mod append;
mod batch;
mod cascade;
mod check;
pub(super) mod draw;
mod forms;
mod kv4;
mod lists;
mod reference;
mod sparse;
mod state;
mod variant;

pub(crate) use append::lines as append_lines;
pub use batch::{Batch, Request, Row, Rows, Span, Store};
pub use kv4::scale_row;
pub use state::merge;
pub use variant::{Alibi, At, Masked, Operand, Plain, Sigmoid, Snippet, SoftCap, Variant, WithVariant};

use crate::OpError;
use crate::def::{Agree, Axis, AxisKind, Constraint, Dim, Dims, Grade, OpDef, Operation, Port, Tensors, Work};
use half::bf16;
use tandem_tensor::{DType, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[
    &forms::ALL[0],
    &forms::ALL[1],
    &forms::ALL[2],
    &cascade::Cascade,
    &sparse::Blocks,
    &sparse::VariableBlocks,
    &lists::Lists,
    &append::ALL[0],
    &state::Merge,
    &forms::ALL[3],
    &append::ALL[1],
];

/// What rows see, as the choice `mask` numbers it.
pub const MASKS: &[&str] = &["none", "causal", "window", "custom"];
/// What becomes of scores, as the choice `logits` numbers it.
pub const LOGITS_OF: &[&str] = &["plain", "soft_cap", "alibi", "sigmoid"];

const HEADS: [Axis; 3] = [
    Axis { name: "hq", kind: AxisKind::Extent, default: 32, doc: "heads of the queries" },
    Axis { name: "hkv", kind: AxisKind::Extent, default: 8, doc: "heads of the keys and values" },
    Axis { name: "d", kind: AxisKind::Extent, default: 128, doc: "elements of a head" },
];
const PAGE_AXES: [Axis; 3] = [
    Axis { name: "page", kind: AxisKind::Extent, default: 16, doc: "positions of a page" },
    Axis { name: "pages", kind: AxisKind::Drawn, default: 0, doc: "pages" },
    Axis { name: "entries", kind: AxisKind::Drawn, default: 0, doc: "entries of the page table" },
];
const MASK_AXES: [Axis; 3] = [
    Axis { name: "mask", kind: AxisKind::Choice(MASKS), default: 0, doc: "what rows see" },
    Axis {
        name: "window",
        kind: AxisKind::Number,
        default: 4096,
        doc: "positions that a window shows, the row's own included",
    },
    Axis { name: "mask_bytes", kind: AxisKind::Drawn, default: 0, doc: "bytes of the custom masks" },
];
const LOGITS: Axis =
    Axis { name: "logits", kind: AxisKind::Choice(LOGITS_OF), default: 0, doc: "what becomes of scores" };
const KV_LENGTH: Axis =
    Axis { name: "kv", kind: AxisKind::Number, default: 128, doc: "positions of a typical request of a sample" };

const ROW: &[Dim] = &[Dim::Axis("n"), Dim::Axis("hq"), Dim::Axis("d")];
const Q: Port = Port { name: "q", dtype: DType::BF16, dims: ROW, doc: "queries" };
const KV: Port = Port {
    name: "kv",
    dtype: DType::BF16,
    dims: &[Dim::Axis("pages"), Dim::Fixed(2), Dim::Axis("page"), Dim::Axis("hkv"), Dim::Axis("d")],
    doc: "pages of keys and values",
};
const INDPTR: Port = Port {
    name: "indptr",
    dtype: DType::I32,
    dims: &[Dim::Plus("b", 1)],
    doc: "where pages of each request begin in indices, and the end",
};
const INDICES: Port = Port { name: "indices", dtype: DType::I32, dims: &[Dim::Axis("entries")], doc: "pages" };
const LAST_PAGE_LEN: Port = Port {
    name: "last_page_len",
    dtype: DType::I32,
    dims: &[Dim::Axis("b")],
    doc: "positions of the last page of each request, 1 to page; without meaning where it has no page",
};
const SCALE: Port = Port { name: "scale", dtype: DType::F32, dims: &[], doc: "factor of every score" };
const SOFT_CAP: Port =
    Port { name: "soft_cap", dtype: DType::F32, dims: &[], doc: "bound of scores where logits is soft_cap, above 0" };
const BIAS: Port = Port { name: "bias", dtype: DType::F32, dims: &[], doc: "added to scores where logits is sigmoid" };
const SLOPES: Port = Port {
    name: "slopes",
    dtype: DType::F32,
    dims: &[Dim::Of("hq where logits is alibi", |dims| if dims["logits"] == 2 { dims["hq"] } else { 0 })],
    doc: "what a score falls by for every position of distance",
};
const MASK: Port = Port {
    name: "mask",
    dtype: DType::U8,
    dims: &[Dim::Axis("mask_bytes")],
    doc: "where mask is custom: for each request a bit a row and position, the lowest of a byte first",
};
const MASK_INDPTR: Port = Port {
    name: "mask_indptr",
    dtype: DType::I32,
    dims: &[Dim::Of("b + 1 where mask is custom", |dims| if dims["mask"] == 3 { dims["b"] + 1 } else { 0 })],
    doc: "the byte where the mask of each request begins, and the end",
};
const O: Port = Port { name: "o", dtype: DType::BF16, dims: ROW, doc: "values by the weights of their positions" };
const LSE: Port = Port {
    name: "lse",
    dtype: DType::F32,
    dims: &[Dim::Axis("n"), Dim::Axis("hq")],
    doc: "logarithm to base 2 of the sum of weights; 0 without a softmax",
};

const SOME_HEADS: Constraint = Constraint { text: "hkv > 0 and d > 0", holds: |dims| dims["hkv"] > 0 && dims["d"] > 0 };
const WHOLE_GROUPS: Constraint =
    Constraint { text: "hq % hkv == 0", holds: |dims| dims["hq"].is_multiple_of(dims["hkv"].max(1)) };
const SOME_PAGE: Constraint = Constraint { text: "page > 0", holds: |dims| dims["page"] > 0 };

// Results are rounded to bfloat16, and kernels on tensor cores round the weights of many positions to it as well. Exact arithmetic
// with these two roundings alone is off by 2.2e-3 of the root mean square with a softmax of normal scores, 2.4e-3 with sigmoids, and
// up to 2.5e-3 on some draws; where every number is just above a power of two, each rounding is 2.3e-3, and both 3.2e-3. That is the
// rule. The weights of an element are off by 1.6e-3 of its row each, in a sum that in a million elements comes to six times that at
// some place, and rounding the result adds 2^-8 of it: 1.4e-2, or a little more where numbers are just above powers of two.
const AGREE: Agree = Agree::Relative { rms: 3.2e-3, max: 1.6e-2 };
const FPGA: Grade = Grade::ReferenceOnly("the core multiplies 8-bit integers and has no exponential");

/// The name of a choice; the first of them where the definition has no such axis.
fn choice(def: &OpDef, dims: &Dims, axis: &str) -> &'static str {
    let names = def.axes.iter().find(|other| other.name == axis).map(|axis| axis.kind);
    match names {
        Some(AxisKind::Choice(names)) => names.get(dims[axis]).copied().unwrap_or("none"),
        _ => "none",
    }
}

/// Pages with a table.
fn pages<'a>(kv: &'a [bf16], table: &'a [i32], dims: &Dims) -> Store<'a> {
    let (page, line) = (dims["page"], dims["hkv"] * dims["d"]);
    // The values of a page follow its keys. An empty cache has neither.
    let v = kv.get(page * line..).unwrap_or(&[]);
    Store {
        k: kv.into(),
        v: v.into(),
        line,
        table: Some(table.into()),
        page,
        page_lines: 2 * page,
        pages: dims["pages"],
    }
}

/// The levels of attention that operands of a definition are: one, or for a cascade several whose states merge.
///
/// # Errors
/// Invalid for operands of another definition; they have to be bound and checked.
pub fn levels<'a>(name: &str, dims: &Dims, inputs: &'a Tensors) -> Result<Vec<Batch<'a>>, OpError> {
    if let Some(form) = forms::ALL.iter().find(|form| form.def().name == name) {
        return Ok(vec![form.batch(dims, inputs)?]);
    }
    match name {
        "attention.cascade.bf16" => cascade::levels(dims, inputs),
        "attention.block_sparse.bf16" => Ok(vec![sparse::blocks(dims, inputs)?]),
        "attention.sparse_decode.bf16" => Ok(vec![lists::batch(dims, inputs)?]),
        "attention.variable_block_sparse.bf16" => Ok(vec![sparse::variable_blocks(dims, inputs)?]),
        _ => Err(OpError::Invalid(format!("{name} is no attention over requests"))),
    }
}

/// Does something with the variant that the choices of a definition ask for.
///
/// # Errors
/// Invalid, where an operand that the variant needs is missing.
pub fn with_variant<W: WithVariant>(def: &OpDef, dims: &Dims, inputs: &Tensors, what: W) -> Result<W::Out, OpError> {
    if choice(def, dims, "mask") == "custom" {
        let mask = inputs.slice::<u8>("mask")?;
        return with_logits(def, dims, inputs, Behind { mask, what });
    }
    with_logits(def, dims, inputs, what)
}

fn with_logits<W: WithVariant>(def: &OpDef, dims: &Dims, inputs: &Tensors, what: W) -> Result<W::Out, OpError> {
    Ok(match choice(def, dims, "logits") {
        "soft_cap" => what.with(&SoftCap { cap: inputs.scalar("soft_cap")? }),
        "alibi" => what.with(&Alibi { slopes: inputs.slice("slopes")? }),
        "sigmoid" => what.with(&Sigmoid { bias: inputs.scalar("bias")? }),
        _ => what.with(&Plain),
    })
}

/// Puts a mask before whatever variant comes.
struct Behind<'a, W> {
    mask: &'a [u8],
    what: W,
}

impl<W: WithVariant> WithVariant for Behind<'_, W> {
    type Out = W::Out;

    fn with<V: Variant>(self, variant: &V) -> W::Out {
        self.what.with(&Masked { inner: variant, mask: self.mask })
    }
}

impl<V: Variant> Variant for &V {
    const SOFTMAX: bool = V::SOFTMAX;

    #[inline(always)]
    fn logit(&self, x: f32, at: &At) -> f32 {
        (**self).logit(x, at)
    }

    #[inline(always)]
    fn keep(&self, at: &At) -> bool {
        (**self).keep(at)
    }

    fn snippet(&self) -> Snippet<'_> {
        (**self).snippet()
    }
}

/// Products of scores and of values for every pair, and every operand and result once, of keys and values what is seen.
fn work(dims: &Dims, inputs: &Tensors, levels: &[Batch<'_>]) -> Work {
    let (d, rows) = (dims["d"] as u64, levels.first().map_or(0, |batch| batch.rows as u64));
    let pairs: u64 = levels.iter().map(Batch::pairs).sum();
    // What several requests read counts once, as far as that follows from how much there is.
    let all = levels.first().map_or(0, |batch| (batch.store.pages * batch.store.page * batch.kv_heads) as u64);
    let positions = levels.iter().map(Batch::positions).sum::<u64>().min(all);
    let row = levels.first().map_or(0, |batch| batch.store.k.bytes(batch.d) as u64);
    let numbers = inputs.iter().filter(|&(name, tensor)| {
        tensor.dtype() != DType::BF16 && tensor.shape().rank() > 0 && name != kv4::CODES.name
    });
    let tables: usize = numbers.map(|(_, tensor)| tensor.len() * tensor.dtype().bytes()).sum();
    let heads = rows * dims["hq"] as u64;
    Work {
        flops: 4 * d * pairs,
        dram_bytes: 4 * heads * d + 4 * heads + 2 * row * positions + tables as u64,
        ..Work::default()
    }
}

/// 2 to a power: 0 at -inf and whatever is below -125; a NaN stays one.
///
/// The relative error is below 2e-7. Free of branches, so that loops over it vectorise.
#[inline(always)]
pub(crate) fn exp2(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves an integer in the low bits.
    let low = x < -125.0;
    let x = if low { -125.0 } else { x };
    let x = if x > 129.0 { 129.0 } else { x };
    let rounded = x + ROUND;
    let whole = (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let part = x - (rounded - ROUND);
    let mut y = 1.540_353e-4f32;
    for factor in [1.333_355_8e-3, 9.618_129e-3, 5.550_411e-2, 2.402_265e-1, std::f32::consts::LN_2, 1.0] {
        y = y * part + factor;
    }
    // Half of it, so that the factor is finite wherever the result is.
    let power = f32::from_bits((whole.wrapping_add(126) as u32) << 23);
    if low { 0.0 } else { y * power * 2.0 }
}

/// A tensor of 32-bit integers.
fn integers(all: Vec<i32>) -> Tensor {
    Tensor::from_vec([all.len()], all).expect("as many elements as the shape has")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_near_and_keep_the_ends() {
        let mut worst = 0f64;
        for step in -12_500..=12_799 {
            let x = step as f32 * 0.01;
            worst = worst.max((f64::from(exp2(x)) / f64::from(x).exp2() - 1.0).abs());
        }
        assert!(worst < 2e-7, "{worst}");
        assert_eq!([exp2(f32::NEG_INFINITY), exp2(-127.0), exp2(0.0), exp2(5.0)], [0.0, 0.0, 1.0, 32.0]);
        assert_eq!((exp2(f32::INFINITY), exp2(300.0)), (f32::INFINITY, f32::INFINITY));
        assert!(exp2(f32::NAN).is_nan());
    }
}
