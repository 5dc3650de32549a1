//! What the operands of all forms say: rows in segments, and the pages where the weights of adapters lie.

use crate::OpError;
use crate::def::{Dims, Tensors};
use crate::operation::check::{offsets, ranges, wrong};
use half::bf16;
use std::ops::Range;

/// Rows by segments, and adapters in pages.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    /// Elements of a row of x and of A; 0 for a form without them.
    pub h1: usize,
    /// Elements of a row of B and of the result; 0 for a form without them.
    pub h2: usize,
    /// Elements of a page.
    pub page: usize,
    /// All pages.
    pub pool: &'a [bf16],
    /// Where the entries of each adapter begin, and the end.
    pub indptr: &'a [i32],
    /// The page where each row of A begins; none for a form without them.
    pub a_index: &'a [i32],
    /// The page where each row of B begins; none for a form without them.
    pub b_index: &'a [i32],
    /// Segments in order; a row belongs to exactly one of them.
    pub segments: Vec<Segment>,
}

/// Rows of one adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The rows.
    pub rows: Range<usize>,
    /// The adapter, if there is one.
    pub adapter: Option<usize>,
}

impl<'a> Batch<'a> {
    /// The operands of a definition of this family, bound and checked.
    ///
    /// # Errors
    /// Invalid for operands of another definition.
    pub fn of(dims: &Dims, inputs: &'a Tensors) -> Result<Batch<'a>, OpError> {
        let index = |name: &str| inputs.find(name).map_or(Ok(&[][..]), |_| inputs.slice::<i32>(name));
        let rows = ranges(inputs.slice("segments")?);
        let adapters = inputs.slice::<i32>("adapter")?.iter().map(|&adapter| usize::try_from(adapter).ok());
        Ok(Batch {
            h1: dims.find("h1").unwrap_or(0),
            h2: dims.find("h2").unwrap_or(0),
            page: dims["page"],
            pool: inputs.slice("pool")?,
            indptr: inputs.slice("indptr")?,
            a_index: index("a_index")?,
            b_index: index("b_index")?,
            segments: rows.zip(adapters).map(|(rows, adapter)| Segment { rows, adapter }).collect(),
        })
    }

    /// The entries of a segment's adapter, one for each of its ranks; none without an adapter.
    pub fn entries(&self, segment: &Segment) -> Range<usize> {
        segment.adapter.map_or(0..0, |adapter| self.indptr[adapter] as usize..self.indptr[adapter + 1] as usize)
    }

    /// The row of A of an entry: what a row of x is multiplied with.
    pub fn a_row(&self, entry: usize) -> &'a [bf16] {
        &self.pool[self.a_index[entry] as usize * self.page..][..self.h1]
    }

    /// The row of B of an entry: what is added to a row of the result, by the product with A.
    pub fn b_row(&self, entry: usize) -> &'a [bf16] {
        &self.pool[self.b_index[entry] as usize * self.page..][..self.h2]
    }

    /// The rows of every adapter that has some, gathered from all its segments, by adapter; those without an adapter come first.
    pub fn gathered(&self) -> Vec<(Range<usize>, Vec<usize>)> {
        let mut all = std::collections::BTreeMap::<Option<usize>, (Range<usize>, Vec<usize>)>::new();
        for segment in self.segments.iter().filter(|segment| !segment.rows.is_empty()) {
            let (_, rows) = all.entry(segment.adapter).or_insert_with(|| (self.entries(segment), Vec::new()));
            rows.extend(segment.rows.clone());
        }
        all.into_values().collect()
    }

    /// Ranks times rows of all segments, and ranks of the adapters that have rows, each once.
    pub(super) fn ranks(&self) -> (u64, u64) {
        let gathered = self.gathered();
        let pairs = gathered.iter().map(|(entries, rows)| (entries.len() * rows.len()) as u64).sum();
        (pairs, gathered.iter().map(|(entries, _)| entries.len() as u64).sum())
    }
}

/// What shapes cannot say of segments, adapters and pages. `most` is the largest rank that a segment's adapter may have.
pub(super) fn check(def: &str, dims: &Dims, inputs: &Tensors, most: Option<usize>) -> Result<(), OpError> {
    offsets(def, inputs, "segments", dims["n"])?;
    offsets(def, inputs, "indptr", dims["entries"])?;
    let (adapters, page, pages) = (dims["adapters"], dims["page"], dims["pages"]);
    let indptr = inputs.slice::<i32>("indptr")?;
    for (at, &adapter) in inputs.slice::<i32>("adapter")?.iter().enumerate() {
        if adapter < -1 || adapter >= 0 && adapter as usize >= adapters {
            let text = format!("is {adapter}, which is neither -1 nor one of 0..{adapters}");
            return Err(wrong(def, "adapter", at, text));
        }
        let rank = if adapter < 0 { 0 } else { (indptr[adapter as usize + 1] - indptr[adapter as usize]) as usize };
        if let Some(most) = most.filter(|&most| rank > most) {
            let text = format!("is {adapter}, whose rank of {rank} is more than the {most} columns of v");
            return Err(wrong(def, "adapter", at, text));
        }
    }
    for (port, axis) in [("a_index", "h1"), ("b_index", "h2")] {
        let Some(elements) = dims.find(axis).filter(|_| inputs.find(port).is_some()) else { continue };
        let needed = elements.div_ceil(page);
        for (at, &first) in inputs.slice::<i32>(port)?.iter().enumerate() {
            if first < 0 || first as usize > pages || needed > pages - first as usize {
                let text = format!("is {first}, from where {elements} elements do not fit in {pages} pages of {page}");
                return Err(wrong(def, port, at, text));
            }
        }
    }
    Ok(())
}
