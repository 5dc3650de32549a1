//! Requests that share a beginning: `attention.cascade.bf16`.
//!
//! The same cache is read in two formats: the shared pages once for all rows of the requests that share them, which is a block
//! of many rows, and the pages of each request's own. Both levels have states, which merge.

use super::check::{PAGES, Pages, scalar};
use super::{
    AGREE, Batch, FPGA, HEADS, INDICES, INDPTR, KV, LAST_PAGE_LEN, LSE, O, PAGE_AXES, Q, Request, SCALE, Span,
};
use super::{SOME_HEADS, SOME_PAGE, WHOLE_GROUPS, draw, pages, work};
use crate::OpError;
use crate::def::{Axis, AxisKind, Constraint, Dim, Dims, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work};
use crate::operation::check::{offsets, wrong};
use tandem_tensor::DType;

/// The definition.
pub(super) struct Cascade;

const PREFIX: Pages =
    Pages { indptr: "prefix_indptr", indices: "prefix_indices", last_page_len: "prefix_last_page_len" };

static CASCADE: OpDef = OpDef {
    name: "attention.cascade.bf16",
    summary: "attention over pages that groups of requests share and then over pages of each request's own",
    axes: &Axis::joined::<14>(&[
        &[
            Axis {
                name: "groups",
                kind: AxisKind::Extent,
                default: 2,
                doc: "groups of requests with a prefix of their own",
            },
            Axis { name: "b", kind: AxisKind::Extent, default: 8, doc: "requests" },
            Axis { name: "n", kind: AxisKind::Drawn, default: 0, doc: "rows of queries of all requests" },
        ],
        &HEADS,
        &PAGE_AXES,
        &[
            Axis {
                name: "prefix_entries",
                kind: AxisKind::Drawn,
                default: 0,
                doc: "entries of the prefixes' page table",
            },
            Axis {
                name: "mask",
                kind: AxisKind::Choice(&["none", "causal"]),
                default: 1,
                doc: "what rows see of their own pages; of the prefix they see all",
            },
            Axis { name: "lq", kind: AxisKind::Number, default: 1, doc: "rows of a typical request of a sample" },
            Axis {
                name: "prefix",
                kind: AxisKind::Number,
                default: 256,
                doc: "positions of a typical prefix of a sample",
            },
            Axis {
                name: "kv",
                kind: AxisKind::Number,
                default: 64,
                doc: "own positions of a typical request of a sample",
            },
        ],
    ]),
    inputs: &[
        Q,
        Port {
            name: "prefix_qo_indptr",
            dtype: DType::I32,
            dims: &[Dim::Plus("groups", 1)],
            doc: "where rows of each group begin, and the end",
        },
        Port {
            name: "qo_indptr",
            dtype: DType::I32,
            dims: &[Dim::Plus("b", 1)],
            doc: "where rows of each request begin, and the end",
        },
        KV,
        Port {
            name: "prefix_indptr",
            dtype: DType::I32,
            dims: &[Dim::Plus("groups", 1)],
            doc: "where pages of each prefix begin in prefix_indices, and the end",
        },
        Port {
            name: "prefix_indices",
            dtype: DType::I32,
            dims: &[Dim::Axis("prefix_entries")],
            doc: "pages of the prefixes",
        },
        Port {
            name: "prefix_last_page_len",
            dtype: DType::I32,
            dims: &[Dim::Axis("groups")],
            doc: "positions of the last page of each prefix",
        },
        INDPTR,
        INDICES,
        LAST_PAGE_LEN,
        SCALE,
    ],
    outputs: &[O, LSE],
    holds: &[
        SOME_HEADS,
        WHOLE_GROUPS,
        SOME_PAGE,
        Constraint { text: "groups > 0 or b == 0", holds: |dims| dims["groups"] > 0 || dims["b"] == 0 },
    ],
    agree: AGREE,
    fpga: FPGA,
};

/// The prefixes, and the requests' own pages.
pub(super) fn levels<'a>(dims: &Dims, inputs: &'a Tensors) -> Result<Vec<Batch<'a>>, OpError> {
    let level = |qo_indptr: &str, table: Pages, span: Span| -> Result<Batch<'a>, OpError> {
        let rows = inputs.slice::<i32>(qo_indptr)?;
        let lengths = table.lengths(inputs, dims["page"])?;
        let requests = rows.windows(2).zip(lengths).map(|(rows, (kv, first))| Request {
            rows: rows[0] as usize..rows[1] as usize,
            kv,
            first,
            heads: 0..dims["hkv"],
            mask: 0,
        });
        Ok(Batch {
            q_heads: dims["hq"],
            kv_heads: dims["hkv"],
            d: dims["d"],
            scale: inputs.scalar("scale")?,
            span,
            requests: requests.collect(),
            rows: dims["n"],
            q: inputs.slice("q")?,
            store: pages(inputs.slice("kv")?, inputs.slice(table.indices)?, dims),
        })
    };
    let own = Span { causal: dims["mask"] == 1, window: None };
    Ok(vec![level("prefix_qo_indptr", PREFIX, Span::ALL)?, level("qo_indptr", PAGES, own)?])
}

impl Operation for Cascade {
    fn def(&self) -> &'static OpDef {
        &CASCADE
    }

    fn samples(&self) -> Vec<Sample> {
        let all: [(&'static str, &[(&'static str, usize)]); 7] = [
            ("no_requests", &[("groups", 1), ("b", 0)]),
            ("decode", &[("groups", 1), ("b", 6), ("hq", 8), ("hkv", 2), ("prefix", 130), ("kv", 21)]),
            (
                "two_groups",
                &[("b", 5), ("hq", 8), ("hkv", 2), ("d", 64), ("page", 8), ("lq", 3), ("prefix", 70), ("kv", 17)],
            ),
            (
                "empty_prefix",
                &[("b", 4), ("hq", 4), ("hkv", 4), ("d", 64), ("page", 5), ("lq", 2), ("prefix", 0), ("kv", 33)],
            ),
            (
                "kv_zero",
                &[("b", 4), ("hq", 4), ("hkv", 2), ("d", 64), ("page", 5), ("prefix", 37), ("kv", 9), ("mask", 0)],
            ),
            ("nothing_at_all", &[("b", 3), ("hq", 2), ("hkv", 1), ("d", 64), ("page", 4), ("prefix", 0), ("kv", 0)]),
            ("one_token_page", &[("b", 4), ("hq", 7), ("hkv", 1), ("page", 1), ("lq", 5), ("prefix", 40), ("kv", 12)]),
        ];
        all.map(|(name, extents)| Sample::new(&CASCADE, name, extents)).into()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (b, prefix, kv) = match size {
            Size::Simulator => (4, 64, 16),
            Size::Processor => (16, 512, 128),
            Size::Gpu => (64, 8192, 512),
        };
        vec![Sample::new(&CASCADE, "shared", &[("groups", 1), ("b", b), ("prefix", prefix), ("kv", kv)])]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        CASCADE.constrain(dims)?;
        let (groups, b, page) = (dims["groups"], dims["b"], dims["page"]);
        let mut random = Random::new(seed);
        let rows = draw::rows(name, &mut random, b, dims["lq"]);
        let kv = draw::lengths(name, &mut random, b, dims["kv"]);
        let prefix = vec![dims["prefix"]; groups];
        // Requests are shared among the groups in order, as evenly as they can be.
        let mut shared = vec![0; groups];
        for (at, rows) in rows.iter().enumerate() {
            shared[at * groups / b] += rows;
        }
        let q = draw::heads(&mut random, [rows.iter().sum(), dims["hq"], dims["d"]]);
        let tables = draw::tables(&mut random, &[&prefix, &kv], page);
        let [first, own] = <[draw::Paged; 2]>::try_from(tables).ok().expect("two levels");
        let pages = draw::pages(&mut random, &own.filled, page, dims["hkv"], dims["d"]);
        Ok(Tensors::new()
            .with("q", q)
            .with("prefix_qo_indptr", draw::offsets(&shared))
            .with("qo_indptr", draw::offsets(&rows))
            .with("kv", pages)
            .with("prefix_indptr", first.indptr)
            .with("prefix_indices", first.indices)
            .with("prefix_last_page_len", first.last_page_len)
            .with("indptr", own.indptr)
            .with("indices", own.indices)
            .with("last_page_len", own.last_page_len)
            .with("scale", draw::scale(dims)))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let name = CASCADE.name;
        offsets(name, inputs, "qo_indptr", dims["n"])?;
        offsets(name, inputs, "prefix_qo_indptr", dims["n"])?;
        let own = inputs.slice::<i32>("qo_indptr")?;
        let strays = inputs.slice::<i32>("prefix_qo_indptr")?.iter().enumerate().find(|(_, row)| !own.contains(row));
        if let Some((at, row)) = strays {
            return Err(wrong(name, "prefix_qo_indptr", at, format!("is {row}, where no request begins")));
        }
        PREFIX.check(name, inputs, dims["pages"], dims["page"])?;
        PAGES.check(name, inputs, dims["pages"], dims["page"])?;
        scalar(name, inputs, "scale", false)
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        super::reference::reference(&CASCADE, dims, inputs, &levels(dims, inputs)?)
    }

    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        levels(dims, inputs).map_or(Work::default(), |levels| work(dims, inputs, &levels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_tensor::Tensor;

    #[test]
    fn a_group_has_whole_requests() {
        let sample = &Cascade.samples()[2];
        let inputs = Cascade.sample(sample.name, &sample.dims, 1).unwrap();
        let dims = crate::def::accept(&Cascade, &sample.dims, &inputs).unwrap();
        let mut groups = inputs.slice::<i32>("prefix_qo_indptr").unwrap().to_vec();
        groups[1] += 1;
        let inputs = inputs.with("prefix_qo_indptr", Tensor::from_vec([groups.len()], groups).unwrap());
        let error = Cascade.check(&dims, &inputs).unwrap_err().to_string();
        assert!(error.contains("prefix_qo_indptr at position 1"), "{error}");
    }
}
