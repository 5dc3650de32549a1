//! One query a request, where each head of keys has a list of its own of what is seen: `attention.sparse_decode.bf16`.

use super::check::scalar;
use super::{AGREE, Batch, FPGA, HEADS, LSE, O, Request, SCALE, SOME_HEADS, Span, Store, WHOLE_GROUPS};
use super::{draw, integers, work};
use crate::OpError;
use crate::def::{Axis, AxisKind, Dim, Dims, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work};
use crate::operation::check::wrong;
use std::ops::Range;
use tandem_tensor::{DType, Tensor};

/// Lists.
pub(super) struct Lists;

const QUERY: &[Dim] = &[Dim::Axis("b"), Dim::Axis("hq"), Dim::Axis("d")];
const LINE: &[Dim] = &[Dim::Axis("lines"), Dim::Axis("hkv"), Dim::Axis("d")];
const LIST: &[Dim] = &[Dim::Axis("b"), Dim::Axis("hkv")];

static DEF: OpDef = OpDef {
    name: "attention.sparse_decode.bf16",
    summary: "softmax(scale q kᵀ) v for one query a request over the lines that a list of each head of keys names",
    axes: &Axis::joined::<8>(&[
        &[Axis { name: "b", kind: AxisKind::Extent, default: 4, doc: "requests" }],
        &HEADS,
        &[
            Axis { name: "lines", kind: AxisKind::Extent, default: 200, doc: "keys and values of the cache" },
            Axis { name: "entries", kind: AxisKind::Drawn, default: 0, doc: "room for the entries of all lists" },
            Axis {
                name: "logits",
                kind: AxisKind::Choice(&["plain", "soft_cap"]),
                default: 0,
                doc: "what becomes of scores",
            },
            Axis { name: "kv", kind: AxisKind::Number, default: 60, doc: "entries of a typical list of a sample" },
        ],
    ]),
    inputs: &[
        Port { name: "q", dtype: DType::BF16, dims: QUERY, doc: "queries" },
        Port { name: "k", dtype: DType::BF16, dims: LINE, doc: "keys" },
        Port { name: "v", dtype: DType::BF16, dims: LINE, doc: "values" },
        Port {
            name: "list",
            dtype: DType::I32,
            dims: &[Dim::Axis("entries")],
            doc: "lines; those of no list may be anything",
        },
        Port {
            name: "begin",
            dtype: DType::I32,
            dims: LIST,
            doc: "where the list of each request and head of keys begins",
        },
        Port { name: "count", dtype: DType::I32, dims: LIST, doc: "entries of the list" },
        SCALE,
        super::SOFT_CAP,
    ],
    outputs: &[
        Port { name: "o", dtype: DType::BF16, dims: QUERY, doc: O.doc },
        Port { name: "lse", dtype: DType::F32, dims: &[Dim::Axis("b"), Dim::Axis("hq")], doc: LSE.doc },
    ],
    holds: &[SOME_HEADS, WHOLE_GROUPS],
    agree: AGREE,
    fpga: FPGA,
};

/// The lists, by request and head of keys.
fn lists(inputs: &Tensors) -> Result<Vec<Range<usize>>, OpError> {
    let pairs = inputs.slice::<i32>("begin")?.iter().zip(inputs.slice::<i32>("count")?);
    Ok(pairs.map(|(&begin, &count)| begin as usize..(begin + count) as usize).collect())
}

/// A request for every list, with a page of one line for each entry.
pub(super) fn batch<'a>(dims: &Dims, inputs: &'a Tensors) -> Result<Batch<'a>, OpError> {
    let heads = dims["hkv"];
    let requests = lists(inputs)?.into_iter().enumerate().map(|(at, list)| Request {
        rows: at / heads..at / heads + 1,
        kv: list.len(),
        first: list.start,
        heads: at % heads..at % heads + 1,
        mask: 0,
    });
    Ok(Batch {
        q_heads: dims["hq"],
        kv_heads: heads,
        d: dims["d"],
        scale: inputs.scalar("scale")?,
        span: Span::ALL,
        requests: requests.collect(),
        rows: dims["b"],
        q: inputs.slice("q")?,
        store: Store {
            k: inputs.slice("k")?.into(),
            v: inputs.slice("v")?.into(),
            line: heads * dims["d"],
            table: Some(inputs.slice::<i32>("list")?.into()),
            page: 1,
            page_lines: 1,
            pages: dims["lines"],
        },
    })
}

impl Operation for Lists {
    fn def(&self) -> &'static OpDef {
        &DEF
    }

    fn samples(&self) -> Vec<Sample> {
        let small = [("hq", 4), ("hkv", 2), ("d", 64)];
        let all: [(&'static str, &[(&'static str, usize)]); 9] = [
            ("no_requests", &[("b", 0), ("lines", 0)]),
            ("no_lines", &[("lines", 0), ("kv", 0)]),
            ("kv_zero", &[("b", 3)]),
            ("one_entry", &[("kv", 1), ("lines", 9)]),
            ("ragged", &[("b", 5), ("kv", 70)]),
            ("group_of_7", &[("hq", 7), ("hkv", 1), ("d", 128), ("b", 2)]),
            ("repeated", &[("lines", 5), ("kv", 90)]),
            ("long", &[("b", 1), ("lines", 2000), ("kv", 1300)]),
            ("soft_cap", &[("kv", 100), ("logits", 1)]),
        ];
        all.map(|(name, extents)| Sample::new(&DEF, name, &[&small, extents].concat())).into()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let [b, lines, kv] = match size {
            Size::Simulator => [1, 300, 60],
            Size::Processor => [4, 1 << 15, 4096],
            Size::Gpu => [16, 1 << 19, 4096],
        };
        let dims = [("b", b), ("lines", lines), ("kv", kv)];
        let heads: &[(&'static str, usize)] =
            if size == Size::Simulator { &[("hq", 4), ("hkv", 1), ("d", 64)] } else { &[] };
        vec![Sample::new(&DEF, "selected", &[&dims, heads].concat())]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        DEF.constrain(dims)?;
        let [b, hq, hkv, d, lines, kv] = ["b", "hq", "hkv", "d", "lines", "kv"].map(|axis| dims[axis]);
        let mut random = Random::new(seed);
        let (mut list, mut begin, mut count) = (Vec::new(), Vec::new(), Vec::new());
        for length in draw::lengths(name, &mut random, b * hkv, kv) {
            let length = if lines == 0 { 0 } else { length };
            begin.push(list.len() as i32);
            count.push(length as i32);
            list.extend((0..length).map(|_| random.within(0, lines) as i32));
            // Room that the list does not use.
            list.resize(list.len() + length / 3, -1);
        }
        Ok(Tensors::new()
            .with("q", draw::heads(&mut random, [b, hq, d]))
            .with("k", draw::heads(&mut random, [lines, hkv, d]))
            .with("v", draw::heads(&mut random, [lines, hkv, d]))
            .with("list", integers(list))
            .with("begin", Tensor::from_vec([b, hkv], begin)?)
            .with("count", Tensor::from_vec([b, hkv], count)?)
            .with("scale", draw::scale(dims))
            .with("soft_cap", Tensor::scalar(2.5f32)))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let name = DEF.name;
        for port in ["begin", "count"] {
            if let Some(at) = inputs.slice::<i32>(port)?.iter().position(|&x| x < 0) {
                return Err(wrong(name, port, at, "is below 0"));
            }
        }
        let (begin, count) = (inputs.slice::<i32>("begin")?, inputs.slice::<i32>("count")?);
        let ends = begin.iter().zip(count).map(|(&begin, &count)| begin as usize + count as usize);
        if let Some((at, end)) = ends.enumerate().find(|&(_, end)| end > dims["entries"]) {
            return Err(wrong(name, "count", at, format!("ends its list at {end}, but there are {}", dims["entries"])));
        }
        let list = inputs.slice::<i32>("list")?;
        for at in lists(inputs)?.into_iter().flatten() {
            if list[at] < 0 || list[at] as usize >= dims["lines"] {
                return Err(wrong(name, "list", at, format!("is {}, which is none of 0..{}", list[at], dims["lines"])));
            }
        }
        scalar(name, inputs, "scale", false)?;
        scalar(name, inputs, "soft_cap", true)
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        super::reference::reference(&DEF, dims, inputs, &[batch(dims, inputs)?])
    }

    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        batch(dims, inputs).map_or(Work::default(), |batch| work(dims, inputs, &[batch]))
    }
}
