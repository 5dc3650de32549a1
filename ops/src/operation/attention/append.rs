//! New keys and values at the end of their requests: `attention.append.bf16`, exact.

use super::check::PAGES;
use super::{HEADS, INDICES, INDPTR, KV, LAST_PAGE_LEN, PAGE_AXES, SOME_PAGE, draw};
use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use crate::operation::check::{offsets, wrong};
use half::bf16;
use tandem_tensor::{DType, Tensor};

/// The definition.
pub(super) struct Append;

const NEW: &[Dim] = &[Dim::Axis("n"), Dim::Axis("hkv"), Dim::Axis("d")];

static APPEND: OpDef = OpDef {
    name: "attention.append.bf16",
    summary: "writes new keys and values as the last positions of their requests, whose page table counts them already",
    axes: &Axis::joined::<9>(&[
        &[
            Axis { name: "b", kind: AxisKind::Extent, default: 8, doc: "requests" },
            Axis { name: "n", kind: AxisKind::Drawn, default: 0, doc: "new positions of all requests" },
            HEADS[1],
            HEADS[2],
        ],
        &PAGE_AXES,
        &[
            Axis {
                name: "new",
                kind: AxisKind::Number,
                default: 4,
                doc: "new positions of a typical request of a sample",
            },
            Axis { name: "kv", kind: AxisKind::Number, default: 64, doc: "positions before them" },
        ],
    ]),
    inputs: &[
        Port { name: "k", dtype: DType::BF16, dims: NEW, doc: "new keys" },
        Port { name: "v", dtype: DType::BF16, dims: NEW, doc: "new values" },
        Port {
            name: "append_indptr",
            dtype: DType::I32,
            dims: &[Dim::Plus("b", 1)],
            doc: "where new positions of each request begin, and the end",
        },
        KV,
        INDPTR,
        INDICES,
        LAST_PAGE_LEN,
    ],
    outputs: &[Port { name: "appended", dtype: DType::BF16, dims: KV.dims, doc: "the pages with the new positions" }],
    holds: &[SOME_PAGE],
    agree: Agree::Exact,
    fpga: Grade::ReferenceOnly("pages of the cache are in the memory of whoever attends to them"),
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

impl Operation for Append {
    fn def(&self) -> &'static OpDef {
        &APPEND
    }

    fn samples(&self) -> Vec<Sample> {
        let all = [
            ("no_requests", [0, 2, 64, 8, 2, 5]),
            ("nothing_new", [3, 2, 64, 8, 0, 5]),
            ("first_positions", [3, 2, 64, 8, 11, 0]),
            ("one_each", [5, 4, 128, 16, 1, 40]),
            ("one_token_page", [3, 2, 64, 1, 5, 3]),
            ("across_pages", [4, 2, 128, 5, 13, 9]),
            ("ragged", [6, 3, 80, 16, 9, 30]),
            ("unaligned", [3, 3, 7, 4, 6, 5]),
        ];
        let names = ["b", "hkv", "d", "page", "new", "kv"];
        all.map(|(name, dims)| Sample::new(&APPEND, name, &std::array::from_fn::<_, 6, _>(|i| (names[i], dims[i]))))
            .into()
    }

    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (b, new) = match size {
            Size::Simulator => (4, 2),
            Size::Processor => (16, 64),
            Size::Gpu => (64, 256),
        };
        vec![Sample::new(&APPEND, "usual", &[("b", b), ("new", new)])]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        APPEND.constrain(dims)?;
        let (b, hkv, d, page) = (dims["b"], dims["hkv"], dims["d"], dims["page"]);
        let mut random = Random::new(seed);
        let new = draw::rows(name, &mut random, b, dims["new"]);
        let kv: Vec<usize> = new.iter().map(|new| new + dims["kv"]).collect();
        let count = new.iter().sum();
        let [table] = <[draw::Paged; 1]>::try_from(draw::tables(&mut random, &[&kv], page)).ok().expect("one level");
        let (k, v) = (draw::heads(&mut random, [count, hkv, d]), draw::heads(&mut random, [count, hkv, d]));
        Ok(Tensors::new()
            .with("k", k)
            .with("v", v)
            .with("append_indptr", draw::offsets(&new))
            .with("kv", draw::pages(&mut random, &table.filled, page, hkv, d))
            .with("indptr", table.indptr)
            .with("indices", table.indices)
            .with("last_page_len", table.last_page_len))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let name = APPEND.name;
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
        let (page, line) = (dims["page"], dims["hkv"] * dims["d"]);
        let (k, v) = (inputs.slice::<bf16>("k")?, inputs.slice::<bf16>("v")?);
        let mut kv = inputs.slice::<bf16>("kv")?.to_vec();
        for (at, to) in lines(dims, inputs)?.into_iter().enumerate() {
            kv[to * line..][..line].copy_from_slice(&k[at * line..][..line]);
            kv[(to + page) * line..][..line].copy_from_slice(&v[at * line..][..line]);
        }
        let shape = inputs.get("kv")?.shape().clone();
        Ok(Tensors::new().with("appended", Tensor::from_vec(shape, kv)?))
    }

    /// The pages stay where they are: only what is new moves.
    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        let new = (dims["n"] * dims["hkv"] * dims["d"]) as u64;
        let ports = ["append_indptr", "indptr", "indices", "last_page_len"];
        let tables: usize = ports.iter().filter_map(|port| inputs.find(port)).map(Tensor::len).sum();
        Work { dram_bytes: 8 * new + 4 * tables as u64, ..Work::default() }
    }
}
