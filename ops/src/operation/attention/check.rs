//! What shapes cannot say of page tables, offsets and masks. Every message names the port and the position.

use crate::OpError;
use crate::def::Tensors;
use crate::operation::check::{offsets, within, wrong};

/// The ports of a page table.
#[derive(Clone, Copy)]
pub(super) struct Pages {
    pub(super) indptr: &'static str,
    pub(super) indices: &'static str,
    pub(super) last_page_len: &'static str,
}

/// The usual names.
pub(super) const PAGES: Pages = Pages { indptr: "indptr", indices: "indices", last_page_len: "last_page_len" };

impl Pages {
    /// A table of pages of which there are `pages`, of `page` positions each.
    pub(super) fn check(&self, def: &str, inputs: &Tensors, pages: usize, page: usize) -> Result<(), OpError> {
        offsets(def, inputs, self.indptr, inputs.get(self.indices)?.len())?;
        within(def, inputs, self.indices, pages)?;
        let (indptr, last) = (inputs.slice::<i32>(self.indptr)?, inputs.slice::<i32>(self.last_page_len)?);
        for (at, &last) in last.iter().enumerate() {
            // A request without pages has no last one, and the number says nothing.
            if indptr[at] < indptr[at + 1] && (last < 1 || last as usize > page) {
                return Err(wrong(def, self.last_page_len, at, format!("is {last}, which is none of 1..={page}")));
            }
        }
        Ok(())
    }

    /// Positions and first entry of every request.
    pub(super) fn lengths(&self, inputs: &Tensors, page: usize) -> Result<Vec<(usize, usize)>, OpError> {
        let (indptr, last) = (inputs.slice::<i32>(self.indptr)?, inputs.slice::<i32>(self.last_page_len)?);
        let of = |(at, &last): (usize, &i32)| {
            let count = (indptr[at + 1] - indptr[at]) as usize;
            let kv = if count == 0 { 0 } else { (count - 1) * page + last as usize };
            (kv, indptr[at] as usize)
        };
        Ok(last.iter().enumerate().map(of).collect())
    }
}

/// Masks of one bit a row and position, each of which begins at a byte of its own. `sizes` are rows and positions.
pub(super) fn masks(def: &str, inputs: &Tensors, sizes: impl Iterator<Item = (usize, usize)>) -> Result<(), OpError> {
    let bytes = inputs.get("mask")?.len();
    let begins = inputs.slice::<i32>("mask_indptr")?;
    for (at, (rows, positions)) in sizes.enumerate() {
        let needed = rows.saturating_mul(positions).div_ceil(8);
        let begin = begins[at];
        if begin < 0 || begin as usize > bytes || needed > bytes - begin as usize {
            let text = format!("is {begin}, from where {rows} rows of {positions} bits do not fit in {bytes} bytes");
            return Err(wrong(def, "mask_indptr", at, text));
        }
    }
    Ok(())
}

/// A scalar that has to be finite, and above 0 where that is asked for.
pub(super) fn scalar(def: &str, inputs: &Tensors, port: &str, positive: bool) -> Result<(), OpError> {
    let x: f32 = inputs.scalar(port)?;
    if x.is_finite() && (x > 0.0 || !positive) {
        return Ok(());
    }
    let kind = if positive { "a finite number above 0" } else { "a finite number" };
    Err(OpError::Invalid(format!("{def}: operand {port} is {x}, not {kind}")))
}
