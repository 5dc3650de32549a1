//! Queries over keys and values of their own request: `attention.decode.bf16`, `attention.prefill.bf16`, `attention.ragged.bf16`, and
//! `attention.decode_kv4.bf16` over codes.

use super::check::{PAGES, masks, scalar};
use super::kv4::{self, CODES, SCALES, WHOLE_BYTES};
use super::{AGREE, BIAS, Batch, HEADS, INDICES, INDPTR, KV, KV_LENGTH, LAST_PAGE_LEN, LOGITS, LSE, MASK, MASK_AXES};
use super::{
    FPGA, MASK_INDPTR, O, PAGE_AXES, Q, Request, SCALE, SLOPES, SOFT_CAP, SOME_HEADS, SOME_PAGE, Span, Store,
    WHOLE_GROUPS, draw, work,
};
use crate::OpError;
use crate::def::{Axis, AxisKind, Constraint, Dim, Dims, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work};
use crate::operation::check::offsets;
use half::bf16;
use tandem_tensor::{DType, Tensor};

/// How requests are given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Decode,
    Prefill,
    Ragged,
}

/// Attention of that form.
pub(super) struct Requests(&'static OpDef, Form);

pub(super) static ALL: [Requests; 4] = [
    Requests(&DECODE, Form::Decode),
    Requests(&PREFILL, Form::Prefill),
    Requests(&RAGGED, Form::Ragged),
    Requests(&DECODE_KV4, Form::Decode),
];

const B: Axis = Axis { name: "b", kind: AxisKind::Extent, default: 8, doc: "requests" };
const N: Axis = Axis { name: "n", kind: AxisKind::Drawn, default: 0, doc: "rows of queries of all requests" };
const M: Axis = Axis { name: "m", kind: AxisKind::Drawn, default: 0, doc: "positions of all requests" };
const ROWS: Axis =
    Axis { name: "lq", kind: AxisKind::Number, default: 32, doc: "rows of a typical request of a sample" };

const PAGED: [Constraint; 3] = [SOME_HEADS, WHOLE_GROUPS, SOME_PAGE];

const ONE_EACH: Port = Port { dims: &[Dim::Axis("b"), Dim::Axis("hq"), Dim::Axis("d")], ..Q };

const fn decode(
    name: &'static str,
    summary: &'static str,
    inputs: &'static [Port],
    holds: &'static [Constraint],
) -> OpDef {
    const AXES: [Axis; 12] = Axis::joined(&[&[B], &HEADS, &PAGE_AXES, &[KV_LENGTH], &MASK_AXES, &[LOGITS]]);
    const OUTPUTS: [Port; 2] =
        [Port { dims: ONE_EACH.dims, ..O }, Port { dims: &[Dim::Axis("b"), Dim::Axis("hq")], ..LSE }];
    OpDef { name, summary, axes: &AXES, inputs, outputs: &OUTPUTS, holds, agree: AGREE, fpga: FPGA }
}

static DECODE: OpDef = decode(
    "attention.decode.bf16",
    "softmax(scale q kᵀ) v for one query a request over pages of keys and values",
    &[ONE_EACH, KV, INDPTR, INDICES, LAST_PAGE_LEN, SCALE, SOFT_CAP, BIAS, SLOPES, MASK, MASK_INDPTR],
    &PAGED,
);

static DECODE_KV4: OpDef = decode(
    "attention.decode_kv4.bf16",
    "softmax(scale q kᵀ) v for one query a request over pages of codes of four bits",
    &[ONE_EACH, CODES, SCALES, INDPTR, INDICES, LAST_PAGE_LEN, SCALE, SOFT_CAP, BIAS, SLOPES, MASK, MASK_INDPTR],
    &[SOME_HEADS, WHOLE_GROUPS, SOME_PAGE, WHOLE_BYTES],
);

static PREFILL: OpDef = OpDef {
    name: "attention.prefill.bf16",
    summary: "softmax(scale q kᵀ) v for requests of any number of queries over pages of keys and values",
    axes: &Axis::joined::<14>(&[&[B, N], &HEADS, &PAGE_AXES, &[ROWS, KV_LENGTH], &MASK_AXES, &[LOGITS]]),
    inputs: &[
        Q,
        Port {
            name: "qo_indptr",
            dtype: DType::I32,
            dims: &[Dim::Plus("b", 1)],
            doc: "where rows of each request begin, and the end",
        },
        KV,
        INDPTR,
        INDICES,
        LAST_PAGE_LEN,
        SCALE,
        SOFT_CAP,
        BIAS,
        SLOPES,
        MASK,
        MASK_INDPTR,
    ],
    outputs: &[O, LSE],
    holds: &PAGED,
    agree: AGREE,
    fpga: FPGA,
};

static RAGGED: OpDef = OpDef {
    name: "attention.ragged.bf16",
    summary: "softmax(scale q kᵀ) v for requests whose queries, keys and values follow each other",
    axes: &Axis::joined::<12>(&[&[B, N, M], &HEADS, &[ROWS, KV_LENGTH], &MASK_AXES, &[LOGITS]]),
    inputs: &[
        Q,
        Port { name: "k", dtype: DType::BF16, dims: &[Dim::Axis("m"), Dim::Axis("hkv"), Dim::Axis("d")], doc: "keys" },
        Port {
            name: "v",
            dtype: DType::BF16,
            dims: &[Dim::Axis("m"), Dim::Axis("hkv"), Dim::Axis("d")],
            doc: "values",
        },
        Port {
            name: "qo_indptr",
            dtype: DType::I32,
            dims: &[Dim::Plus("b", 1)],
            doc: "where rows of each request begin, and the end",
        },
        Port {
            name: "kv_indptr",
            dtype: DType::I32,
            dims: &[Dim::Plus("b", 1)],
            doc: "where positions of each request begin, and the end",
        },
        SCALE,
        SOFT_CAP,
        BIAS,
        SLOPES,
        MASK,
        MASK_INDPTR,
    ],
    outputs: &[O, LSE],
    holds: &[SOME_HEADS, WHOLE_GROUPS],
    agree: AGREE,
    fpga: FPGA,
};

impl Requests {
    /// Whether pages hold codes.
    fn coded(&self) -> bool {
        self.0.input(SCALES.name).is_some()
    }

    /// The operands as a batch.
    pub(super) fn batch<'a>(&self, dims: &Dims, inputs: &'a Tensors) -> Result<Batch<'a>, OpError> {
        let (q_heads, kv_heads, d) = (dims["hq"], dims["hkv"], dims["d"]);
        let rows = self.rows(dims, inputs)?;
        let lengths = self.lengths(dims, inputs)?;
        let masks =
            if super::choice(self.0, dims, "mask") == "custom" { inputs.slice::<i32>("mask_indptr")? } else { &[] };
        let requests = rows.windows(2).zip(&lengths).enumerate().map(|(at, (rows, &(kv, first)))| Request {
            rows: rows[0]..rows[1],
            kv,
            first,
            heads: 0..kv_heads,
            mask: masks.get(at).map_or(0, |&begin| begin as usize),
        });
        let store = if self.1 == Form::Ragged {
            let (k, v) = (inputs.slice::<bf16>("k")?.into(), inputs.slice::<bf16>("v")?.into());
            Store { k, v, line: kv_heads * d, table: None, page: 1, page_lines: 1, pages: dims["m"] }
        } else if self.coded() {
            kv4::store(dims, inputs)?
        } else {
            super::pages(inputs.slice("kv")?, inputs.slice("indices")?, dims)
        };
        Ok(Batch {
            q_heads,
            kv_heads,
            d,
            scale: inputs.scalar("scale")?,
            span: span(self.0, dims),
            requests: requests.collect(),
            rows: rows.last().copied().unwrap_or(0),
            q: inputs.slice("q")?,
            store,
        })
    }

    fn rows(&self, dims: &Dims, inputs: &Tensors) -> Result<Vec<usize>, OpError> {
        if self.1 == Form::Decode {
            return Ok((0..=dims["b"]).collect());
        }
        Ok(inputs.slice::<i32>("qo_indptr")?.iter().map(|&begin| begin as usize).collect())
    }

    fn lengths(&self, dims: &Dims, inputs: &Tensors) -> Result<Vec<(usize, usize)>, OpError> {
        if self.1 != Form::Ragged {
            return PAGES.lengths(inputs, dims["page"]);
        }
        let begins = inputs.slice::<i32>("kv_indptr")?;
        Ok(begins.windows(2).map(|pair| ((pair[1] - pair[0]) as usize, pair[0] as usize)).collect())
    }
}

/// What rows see by the choices of the definition.
fn span(def: &OpDef, dims: &Dims) -> Span {
    match super::choice(def, dims, "mask") {
        "causal" => Span { causal: true, window: None },
        "window" => Span { causal: true, window: Some(dims["window"]) },
        _ => Span::ALL,
    }
}

type Extents = &'static [(&'static str, usize)];

/// The samples that all forms have; extents that a form lacks are left out.
const USUAL: &[(&str, Extents)] = &[
    ("no_requests", &[("b", 0)]),
    ("no_heads", &[("b", 3), ("hq", 0), ("hkv", 2), ("d", 64), ("page", 4), ("lq", 2), ("kv", 9), ("logits", 2)]),
    ("kv_zero", &[("b", 3), ("hq", 4), ("hkv", 2), ("d", 64), ("page", 4), ("lq", 2), ("kv", 21)]),
    ("empty_request", &[("b", 4), ("hq", 4), ("hkv", 2), ("d", 64), ("page", 8), ("lq", 5), ("kv", 19), ("mask", 1)]),
    ("one_token_page", &[("b", 3), ("hq", 4), ("hkv", 4), ("page", 1), ("lq", 17), ("kv", 54), ("mask", 1)]),
    ("one_position", &[("b", 5), ("hq", 8), ("hkv", 1), ("d", 64), ("page", 16), ("lq", 1), ("kv", 1)]),
    ("all_masked_row", &[("b", 3), ("hq", 2), ("hkv", 1), ("d", 64), ("page", 5), ("lq", 7), ("kv", 41), ("mask", 3)]),
    ("nan_and_inf", &[("b", 3), ("hq", 2), ("hkv", 2), ("d", 64), ("page", 5), ("lq", 7), ("kv", 40)]),
    ("group_of_7", &[("b", 2), ("hq", 7), ("hkv", 1), ("page", 16), ("lq", 11), ("kv", 97), ("mask", 1)]),
    ("group_of_8", &[("b", 4), ("hq", 32), ("hkv", 4), ("page", 16), ("lq", 3), ("kv", 54), ("mask", 1)]),
    ("wide_heads", &[("b", 2), ("hq", 4), ("hkv", 2), ("d", 256), ("page", 8), ("lq", 37), ("kv", 70), ("mask", 1)]),
    ("ragged", &[("b", 7), ("hq", 8), ("hkv", 2), ("d", 64), ("page", 5), ("lq", 37), ("kv", 60), ("mask", 1)]),
    ("long_kv", &[("b", 1), ("hq", 4), ("hkv", 1), ("page", 16), ("lq", 4), ("kv", 1531), ("mask", 1)]),
    ("zipf", &[("b", 12), ("hq", 8), ("hkv", 2), ("d", 64), ("page", 16), ("lq", 2), ("kv", 97), ("mask", 1)]),
    ("mixed", &[("b", 6), ("hq", 8), ("hkv", 2), ("page", 16), ("lq", 33), ("kv", 75), ("mask", 1)]),
    ("window", &[("b", 3), ("hq", 4), ("hkv", 2), ("page", 16), ("lq", 40), ("kv", 133), ("mask", 2), ("window", 50)]),
    ("custom_mask", &[("b", 3), ("hq", 8), ("hkv", 2), ("page", 8), ("lq", 19), ("kv", 70), ("mask", 3)]),
    ("soft_cap", &[("b", 2), ("hq", 8), ("hkv", 2), ("page", 16), ("lq", 33), ("kv", 90), ("mask", 1), ("logits", 1)]),
    ("alibi", &[("b", 2), ("hq", 8), ("hkv", 2), ("page", 16), ("lq", 33), ("kv", 90), ("mask", 1), ("logits", 2)]),
    ("sigmoid", &[("b", 2), ("hq", 8), ("hkv", 2), ("page", 16), ("lq", 9), ("kv", 400), ("mask", 1), ("logits", 3)]),
    (
        "masked_alibi",
        &[("b", 2), ("hq", 4), ("hkv", 2), ("page", 5), ("lq", 9), ("kv", 61), ("mask", 3), ("logits", 2)],
    ),
];

/// Samples of rows that only forms with several rows a request have.
const ROWWISE: &[(&str, Extents)] = &[
    ("no_rows", &[("b", 2), ("hq", 2), ("hkv", 1), ("d", 64), ("page", 4), ("kv", 9)]),
    (
        "more_rows_than_positions",
        &[("b", 2), ("hq", 2), ("hkv", 1), ("d", 64), ("page", 4), ("lq", 30), ("kv", 9), ("mask", 1)],
    ),
    ("tall", &[("b", 1), ("hq", 4), ("hkv", 2), ("page", 16), ("lq", 150), ("kv", 150), ("mask", 1)]),
    ("whole_tiles", &[("b", 1), ("hq", 2), ("hkv", 2), ("page", 16), ("lq", 128), ("kv", 128)]),
];

/// Samples of what rows of codes may be.
const CODED: &[(&str, Extents)] = &[
    ("constant_rows", &[("b", 3), ("hq", 8), ("hkv", 2), ("d", 64), ("page", 16), ("kv", 75)]),
    ("extremes", &[("b", 3), ("hq", 8), ("hkv", 2), ("page", 16), ("kv", 75)]),
    ("many_heads", &[("b", 2), ("hq", 40), ("hkv", 2), ("d", 192), ("page", 16), ("kv", 150)]),
];

fn sample_of(def: &OpDef, &(name, extents): &(&'static str, Extents)) -> Sample {
    let known: Vec<_> = extents.iter().copied().filter(|(axis, _)| def.axes.iter().any(|a| a.name == *axis)).collect();
    Sample::new(def, name, &known)
}

impl Operation for Requests {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        let more = match self.1 {
            Form::Decode if self.coded() => CODED,
            Form::Decode => &[],
            _ => ROWWISE,
        };
        USUAL.iter().chain(more).map(|sample| sample_of(self.0, sample)).collect()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let heads = [("hq", 32), ("hkv", 8), ("d", 128)];
        let of = |name, extents: &[(&'static str, usize)]| {
            let known = heads.iter().chain(extents).copied();
            let known: Vec<_> = known.filter(|(axis, _)| self.0.axes.iter().any(|a| a.name == *axis)).collect();
            Sample::new(self.0, name, &known)
        };
        match (self.1, size) {
            (Form::Decode, Size::Simulator) => vec![of("equal", &[("b", 4), ("kv", 64)])],
            (Form::Decode, _) => {
                let (b, kv) = if size == Size::Gpu { (16, 1024) } else { (8, 512) };
                let mut all: Vec<_> = ["equal", "uniform", "zipf"].map(|name| of(name, &[("b", b), ("kv", kv)])).into();
                all.push(of("all_heads", &[("b", b), ("kv", kv), ("hkv", 32)]));
                all
            }
            (_, Size::Simulator) => vec![of("causal", &[("b", 1), ("lq", 16), ("kv", 16), ("mask", 1)])],
            (_, Size::Processor) => vec![of("causal", &[("b", 1), ("lq", 512), ("kv", 512), ("mask", 1)])],
            (_, Size::Gpu) => vec![
                of("causal", &[("b", 1), ("lq", 16384), ("kv", 16384), ("mask", 1)]),
                of("full", &[("b", 4), ("lq", 4096), ("kv", 4096)]),
                of("ragged", &[("b", 16), ("lq", 1024), ("kv", 2048), ("mask", 1)]),
            ],
        }
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        self.0.constrain(dims)?;
        let (b, hq, hkv, d) = (dims["b"], dims["hq"], dims["hkv"], dims["d"]);
        let mut random = Random::new(seed);
        let rows = match self.1 {
            Form::Decode => vec![1; b],
            _ => draw::rows(name, &mut random, b, dims["lq"]),
        };
        let kv = draw::lengths(name, &mut random, b, dims["kv"]);
        let count = rows.iter().sum::<usize>();
        let mut q = draw::heads(&mut random, [count, hq, d]);
        if name == "nan_and_inf" {
            q = draw::nan_and_inf(q, hq * d);
        }
        let mut inputs = Tensors::new().with("q", q);
        if self.1 != Form::Decode {
            inputs = inputs.with("qo_indptr", draw::offsets(&rows));
        }
        if self.1 == Form::Ragged {
            let shape = [kv.iter().sum(), hkv, d];
            let (k, v) = (draw::heads(&mut random, shape), draw::heads(&mut random, shape));
            inputs = inputs.with("k", k).with("v", v).with("kv_indptr", draw::offsets(&kv));
        } else {
            let page = dims["page"];
            let [table] = draw::tables(&mut random, &[&kv], page).try_into().ok().expect("one level");
            let mut pages = draw::pages(&mut random, &table.filled, page, hkv, d);
            if let (true, Some(&at)) = (name == "nan_and_inf", table.indices.as_slice::<i32>()?.last()) {
                // Of the last request's last page, a key and another position's value are infinite.
                let (first, side) = (at as usize * 2 * page * hkv * d, page * hkv * d);
                let mut values = pages.to_f64();
                values[first + 3] = f64::NEG_INFINITY;
                values[first + side + hkv * d + 5] = f64::INFINITY;
                pages = Tensor::from_f64(DType::BF16, pages.shape().clone(), &values)?;
            }
            inputs = if self.coded() {
                // Infinite numbers are where they were put above.
                let name = if name == "nan_and_inf" { "" } else { name };
                let (codes, scales) = kv4::quantized(&kv4::shape_rows(name, &mut random, pages, d)?)?;
                inputs.with(CODES.name, codes).with(SCALES.name, scales)
            } else {
                inputs.with("kv", pages)
            };
            inputs = inputs
                .with("indptr", table.indptr)
                .with("indices", table.indices)
                .with("last_page_len", table.last_page_len);
        }
        let (mask, indptr) = match super::choice(self.0, dims, "mask") {
            "custom" => {
                let sizes: Vec<_> = rows.iter().copied().zip(kv.iter().copied()).collect();
                draw::masks(name, &mut random, &sizes)
            }
            _ => draw::no_masks(),
        };
        let alibi = super::choice(self.0, dims, "logits") == "alibi";
        Ok(draw::scalars(inputs, dims, alibi).with("mask", mask).with("mask_indptr", indptr))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let name = self.0.name;
        if self.1 != Form::Decode {
            offsets(name, inputs, "qo_indptr", dims["n"])?;
        }
        if self.1 == Form::Ragged {
            offsets(name, inputs, "kv_indptr", dims["m"])?;
        } else {
            PAGES.check(name, inputs, dims["pages"], dims["page"])?;
        }
        scalar(name, inputs, "scale", false)?;
        scalar(name, inputs, "soft_cap", true)?;
        scalar(name, inputs, "bias", false)?;
        if super::choice(self.0, dims, "mask") == "custom" {
            let rows = self.rows(dims, inputs)?;
            let sizes = rows.windows(2).zip(self.lengths(dims, inputs)?);
            masks(name, inputs, sizes.map(|(rows, (kv, _))| (rows[1] - rows[0], kv)))?;
        }
        Ok(())
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        super::reference::reference(self.0, dims, inputs, &[self.batch(dims, inputs)?])
    }

    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        self.batch(dims, inputs).map_or(Work::default(), |batch| work(dims, inputs, &[batch]))
    }
}
