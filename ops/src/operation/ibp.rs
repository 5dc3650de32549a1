//! Rows that were packed by invariant bit packing, fetched and unpacked: `ibp_unpack.u32` and `ibp_unpack.u64`, exact.

use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Constraint, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use crate::ibp::{self, FreeBits, Masks, Trained, Training, Word};
use half::bf16;
use tandem_tensor::{DType, Tensor};

pub(super) const ALL: &[&dyn Operation] =
    &[&Unpack::<u32>(&U32, std::marker::PhantomData), &Unpack::<u64>(&U64, std::marker::PhantomData)];

const MASKS: &[Dim] = &[Dim::Axis("clusters"), Dim::Axis("columns")];

const fn inputs(dtype: DType) -> [Port; 6] {
    [
        Port {
            name: "packed",
            dtype,
            dims: &[Dim::Axis("rows"), Dim::Axis("columns")],
            doc: "rows, each at its place: packed, with anything behind, or as it is",
        },
        Port {
            name: "kept",
            dtype: DType::U32,
            dims: &[Dim::Of("ceil(rows / 32)", |dims| dims["rows"].div_ceil(32))],
            doc: "bit r % 32 of word r / 32: whether row r is packed; bits beyond the rows say nothing",
        },
        Port { name: "mask", dtype, dims: MASKS, doc: "bits that a participating word of a column does not keep" },
        Port { name: "bitval", dtype, dims: MASKS, doc: "what these bits are; 0 outside the mask" },
        Port {
            name: "cluster",
            dtype: DType::I32,
            dims: &[Dim::Axis("rows")],
            doc: "whose masks each row is packed with",
        },
        Port { name: "index", dtype: DType::I32, dims: &[Dim::Axis("fetch")], doc: "the rows that are fetched" },
    ]
}

const fn outputs(dtype: DType) -> [Port; 1] {
    [Port { name: "out", dtype, dims: &[Dim::Axis("fetch"), Dim::Axis("columns")], doc: "the fetched rows, unpacked" }]
}

const fn unpack(name: &'static str, inputs: &'static [Port], outputs: &'static [Port]) -> OpDef {
    OpDef {
        name,
        summary: "fetches rows of a matrix that invariant bit packing has made shorter, and unpacks them",
        axes: &[
            Axis { name: "rows", kind: AxisKind::Extent, default: 1024, doc: "rows of the matrix" },
            Axis { name: "columns", kind: AxisKind::Extent, default: 256, doc: "words of a row" },
            Axis { name: "clusters", kind: AxisKind::Extent, default: 1, doc: "sets of masks" },
            Axis { name: "fetch", kind: AxisKind::Extent, default: 512, doc: "rows that are fetched" },
        ],
        inputs,
        outputs,
        holds: &[
            Constraint { text: "clusters >= 1", holds: |dims| dims["clusters"] >= 1 },
            // Kernels count the bits of a row in 32 bits.
            Constraint { text: "columns <= 2^24", holds: |dims| dims["columns"] <= 1 << 24 },
        ],
        agree: Agree::Exact,
        fpga: Grade::Split("the block ibp_unpack makes a word a cycle; the host sends it the rows that are fetched"),
    }
}

static U32: OpDef = unpack("ibp_unpack.u32", &inputs(DType::U32), &outputs(DType::U32));
static U64: OpDef = unpack("ibp_unpack.u64", &inputs(DType::U64), &outputs(DType::U64));

struct Unpack<T>(&'static OpDef, std::marker::PhantomData<fn() -> T>);

/// Operands with their types.
pub(crate) struct Rows<'a, T> {
    pub(crate) packed: &'a [T],
    pub(crate) kept: &'a [u32],
    pub(crate) mask: &'a [T],
    pub(crate) bitval: &'a [T],
    pub(crate) cluster: &'a [i32],
    pub(crate) index: &'a [i32],
    pub(crate) columns: usize,
}

impl<'a, T: Word> Rows<'a, T> {
    pub(crate) fn of(dims: &Dims, inputs: &'a Tensors) -> Result<Rows<'a, T>, OpError> {
        Ok(Rows {
            packed: inputs.slice("packed")?,
            kept: inputs.slice("kept")?,
            mask: inputs.slice("mask")?,
            bitval: inputs.slice("bitval")?,
            cluster: inputs.slice("cluster")?,
            index: inputs.slice("index")?,
            columns: dims["columns"],
        })
    }

    /// A row at its place, and whether it is packed.
    pub(crate) fn row(&self, row: usize) -> (&'a [T], bool) {
        (&self.packed[row * self.columns..][..self.columns], self.kept[row / 32] >> (row % 32) & 1 == 1)
    }

    /// Where the masks of a row begin.
    pub(crate) fn masks(&self, row: usize) -> usize {
        self.cluster[row] as usize * self.columns
    }

    /// Words that have to be read for a row.
    fn words(&self, row: usize) -> Option<usize> {
        let (packed, kept) = self.row(row);
        if kept { ibp::packed_words(packed, &self.mask[self.masks(row)..][..self.columns]) } else { Some(self.columns) }
    }
}

impl<T: Word> Operation for Unpack<T> {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        let all = [
            ("no_rows", [0, 16, 1, 0]),
            ("no_columns", [5, 0, 1, 3]),
            ("nothing_fetched", [4, 40, 1, 0]),
            ("one_word", [1, 1, 1, 1]),
            ("one_column", [40, 1, 1, 9]),
            ("constant", [33, 130, 1, 20]),
            ("incompressible", [20, 70, 1, 20]),
            ("nothing_masked", [20, 65, 1, 20]),
            ("gaussian", [64, 96, 1, 40]),
            ("ragged", [37, 77, 1, 50]),
            ("sparse", [50, 256, 1, 50]),
            ("columns_that_change", [40, 129, 1, 30]),
            ("packed_and_not", [60, 64, 1, 60]),
            ("clusters", [80, 64, 3, 80]),
            ("same_row", [9, 100, 2, 64]),
            ("wide", [7, 2100, 1, 9]),
            ("very_wide", [3, 9001, 2, 4]),
        ];
        let names = ["rows", "columns", "clusters", "fetch"];
        all.map(|(name, dims)| Sample::new(self.0, name, &std::array::from_fn::<_, 4, _>(|i| (names[i], dims[i]))))
            .into()
    }

    /// Rows of an embedding, and of sparse features, of which a batch fetches some.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (rows, bytes, fetch) = match size {
            Size::Simulator => (256, 1024, 128),
            Size::Processor => (65_536, 4096, 32_768),
            Size::Gpu => (262_144, 4096, 131_072),
        };
        let extents = [("rows", rows), ("columns", bytes / T::BYTES), ("fetch", fetch)];
        ["gaussian", "sparse"].map(|name| Sample::new(self.0, name, &extents)).into()
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        self.0.constrain(dims)?;
        let [rows, columns, clusters, fetch] = ["rows", "columns", "clusters", "fetch"].map(|axis| dims[axis]);
        let mut random = Random::new(seed);
        let plain = draw::<T>(name, [rows, columns], &mut random);
        let Trained { mut masks, mut cluster } = ibp::train(&plain, columns, Training { clusters, seed });
        // Rows without words are not seen, and clusters that are more than the rows have none.
        cluster.resize(rows, 0);
        masks.mask.resize(clusters * columns, T::default());
        masks.bitval.resize(clusters * columns, T::default());
        if name == "nothing_masked" {
            masks = Masks { columns, mask: vec![T::default(); columns], bitval: vec![T::default(); columns] };
        }
        let free: Vec<FreeBits<T>> = masks.mask.iter().map(|&mask| FreeBits::outside(mask)).collect();
        let (mut packed, mut kept) = (Vec::with_capacity(plain.len()), vec![0u32; rows.div_ceil(32)]);
        for row in 0..rows {
            let begin = packed.len();
            let words = &plain[row * columns..][..columns];
            let own = usize::from(cluster[row]) * columns..(usize::from(cluster[row]) + 1) * columns;
            if ibp::pack_row(words, (&free[own.clone()], &masks.bitval[own]), &mut packed) {
                kept[row / 32] |= 1 << (row % 32);
                // What lies behind a packed row is nobody's.
                packed.resize_with(begin + columns, || T::low(random.bits()));
            } else {
                packed.extend(words);
            }
        }
        let index: Vec<i32> = match name {
            "same_row" => vec![rows as i32 / 2; fetch],
            _ if rows == 0 => Vec::new(),
            _ => (0..fetch).map(|_| random.within(0, rows) as i32).collect(),
        };
        Ok(Tensors::new()
            .with("packed", Tensor::from_vec([rows, columns], packed)?)
            .with("kept", Tensor::from_vec([rows.div_ceil(32)], kept)?)
            .with("mask", Tensor::from_vec([clusters, columns], masks.mask)?)
            .with("bitval", Tensor::from_vec([clusters, columns], masks.bitval)?)
            .with("cluster", Tensor::from_vec([rows], cluster.into_iter().map(i32::from).collect())?)
            .with("index", Tensor::from_vec([index.len()], index)?))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let rows = Rows::<T>::of(dims, inputs)?;
        super::within(self.0.name, inputs, "cluster", dims["clusters"])?;
        super::within(self.0.name, inputs, "index", dims["rows"])?;
        let wrong = |port: &str, at, text: String| Err(super::wrong(self.0.name, port, at, text));
        let broken = rows.mask.iter().zip(rows.bitval).position(|(&mask, &bitval)| bitval & !mask != T::default());
        if let Some(at) = broken {
            return wrong("bitval", at, "has bits outside its mask".into());
        }
        let long = |row: &usize| rows.words(*row).is_none_or(|words| words > rows.columns);
        match (0..dims["rows"]).find(long) {
            Some(row) => wrong(
                "packed",
                row * rows.columns,
                format!("begins row {row}, which is packed and yet longer than a row"),
            ),
            None => Ok(()),
        }
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let rows = Rows::<T>::of(dims, inputs)?;
        let out: Vec<T> = rows.index.iter().flat_map(|&row| bit_by_bit(&rows, row as usize)).collect();
        Ok(Tensors::new().with("out", Tensor::from_vec([dims["fetch"], dims["columns"]], out)?))
    }

    /// Packed words cross the link, masks and results are in the device's memory.
    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        let Ok(rows) = Rows::<T>::of(dims, inputs) else { return Work::default() };
        let fetched: usize = rows.index.iter().map(|&row| rows.words(row as usize).unwrap_or(rows.columns)).sum();
        let words = (dims["fetch"] * dims["columns"]) as u64;
        let masks = 2 * rows.mask.len();
        let (link_bytes, size) = ((fetched * T::BYTES) as u64, T::BYTES as u64);
        let lists = (rows.index.len() * 4 + rows.cluster.len() * 4 + rows.kept.len() * 4) as u64;
        Work {
            int_ops: 8 * words,
            dram_bytes: link_bytes + (words + masks as u64) * size + lists,
            link_bytes,
            ..Work::default()
        }
    }
}

/// A row, one bit after the other.
fn bit_by_bit<T: Word>(rows: &Rows<'_, T>, row: usize) -> Vec<T> {
    let (packed, kept) = rows.row(row);
    if !kept {
        return packed.to_vec();
    }
    let bits = T::BITS as usize;
    let mut at = ibp::participation_words::<T>(rows.columns) * bits;
    let mut next = || {
        at += 1;
        packed[(at - 1) / bits].wide() >> (bits - 1 - (at - 1) % bits) & 1
    };
    let word = |column: usize| {
        let participates = packed[column / bits].wide() >> (column % bits) & 1 == 1;
        let place = rows.masks(row) + column;
        let (mask, bitval) = (rows.mask[place].wide(), rows.bitval[place].wide());
        let bit = |bit: usize| if participates && mask >> bit & 1 == 1 { bitval >> bit & 1 } else { next() };
        T::low((0..bits).rev().map(bit).fold(0, |word, bit| word << 1 | bit))
    };
    (0..rows.columns).map(word).collect()
}

/// Words of a kind of data.
fn draw<T: Word>(name: &str, [rows, columns]: [usize; 2], random: &mut Random) -> Vec<T> {
    let halves = T::BYTES / 2;
    let weight = |random: &mut Random| u64::from(bf16::from_f64(0.02 * random.normal()).to_bits());
    let of_weights = |random: &mut Random| T::low((0..halves).fold(0, |word, _| word << 16 | weight(random)));
    let common: Vec<T> = (0..columns).map(|_| T::low(random.bits())).collect();
    let mut word = |row: usize, column: usize| match name {
        "constant" => common[column],
        "incompressible" | "nothing_masked" => T::low(random.bits()),
        "sparse" => {
            if random.within(0, 20) == 0 {
                of_weights(random)
            } else {
                T::default()
            }
        }
        // Masks from none to all bits, one a column.
        "columns_that_change" => {
            let free = T::low(u64::MAX).down(column as u32 % (T::BITS + 1));
            (common[column] & !free) | (T::low(random.bits()) & free)
        }
        "packed_and_not" if row.is_multiple_of(3) => T::low(random.bits()),
        "clusters" | "same_row" => {
            T::low(common[column].wide().rotate_left(8 * (row as u32 % 3)) ^ (random.bits() & 0x0f))
        }
        _ => of_weights(random),
    };
    (0..rows * columns).map(|at| word(at / columns, at % columns)).collect()
}
