//! Transfers of rectangles between DRAM and the scratchpads: padding and strides within the fields of an instruction, and the
//! row-by-row form beyond them.

use crate::emit::Emitter;
use tandem_isa::{Load, LoadPad, MemoryType};

/// One channel block of an image in DRAM, with what lies around it.
pub(crate) struct Picture {
    /// First INP element.
    pub plane: usize,
    pub height: usize,
    pub width: usize,
    /// Pixels from one row to the next.
    pub row_pitch: usize,
    /// INP elements of a pixel.
    pub unit: usize,
    pub pad_value: i32,
}

impl Picture {
    /// Loads a window, given as (first, count) of rows and columns, into contiguous elements from `sram`.
    pub fn load(&self, e: &mut Emitter<'_>, sram: usize, rows: (isize, usize), columns: (isize, usize)) {
        let (top, height, bottom) = clip(rows, self.height);
        let (left, width, right) = clip(columns, self.width);
        let unit = self.unit;
        let at = |row: usize| {
            let y = rows.0.max(0) as usize + row;
            self.plane + (y * self.row_pitch + columns.0.max(0) as usize) * unit
        };
        const PAD_LIMIT: usize = 15;
        let short = [top, bottom, left * unit, right * unit].iter().all(|&p| p <= PAD_LIMIT);
        let one = height == 1 || self.row_pitch * unit <= X_LIMIT;
        if height > 0 && width > 0 && short && one {
            let pads = [top, bottom, left * unit, right * unit];
            self.issue(
                e,
                sram,
                at(0),
                height,
                width * unit,
                if height == 1 { width } else { self.row_pitch } * unit,
                pads,
            );
            return;
        }
        // Pads beyond the four bits of their fields, or rows too far apart: row by row.
        let stride = columns.1 * unit;
        for row in 0..rows.1 {
            let to = sram + row * stride;
            if row < top || row >= top + height || width == 0 {
                self.fill(e, to, stride);
            } else {
                self.fill(e, to, left * unit);
                self.issue(e, to + left * unit, at(row - top), 1, width * unit, width * unit, [0; 4]);
                self.fill(e, to + (left + width) * unit, right * unit);
            }
        }
    }

    /// Fills elements with the padding value: a load without rows, only padding.
    fn fill(&self, e: &mut Emitter<'_>, sram: usize, count: usize) {
        if count > 0 {
            self.issue(e, sram, self.plane, 0, count, count, [1, 0, 0, 0]);
        }
    }

    fn issue(
        &self,
        e: &mut Emitter<'_>,
        sram: usize,
        dram: usize,
        rows: usize,
        size: usize,
        stride: usize,
        pads: [usize; 4],
    ) {
        let [y_pad_0, y_pad_1, x_pad_0, x_pad_1] = pads.map(|p| p as u32);
        let (sram_base, dram_base) = (sram as u32, dram as u32);
        let (y_size, x_size, x_stride) = (rows as u32, size as u32, stride as u32);
        let memory_type = MemoryType::Inp;
        if pads == [0; 4] || self.pad_value == 0 {
            e.issue(Load {
                memory_type,
                sram_base,
                dram_base,
                y_size,
                x_size,
                x_stride,
                y_pad_0,
                y_pad_1,
                x_pad_0,
                x_pad_1,
                ..Load::default()
            });
        } else {
            e.issue(LoadPad {
                memory_type,
                sram_base,
                dram_base,
                pad_value: self.pad_value,
                y_size,
                x_size,
                x_stride,
                y_pad_0,
                y_pad_1,
                x_pad_0,
                x_pad_1,
                ..LoadPad::default()
            });
        }
    }
}

/// Largest stride of a transfer.
const X_LIMIT: usize = 65535;

/// How much of `count` positions from `first` lies before, inside and behind `0..extent`.
fn clip((first, count): (isize, usize), extent: usize) -> (usize, usize, usize) {
    let before = first.min(0).unsigned_abs().min(count);
    let behind = (first + count as isize - extent as isize).clamp(0, count as isize) as usize;
    let inside = count.saturating_sub(before + behind);
    (before, inside, count - before - inside)
}

/// Calls back with (first row, rows, stride) for the transfers that move `rows` rows of `size` elements: one, or one a row
/// where the stride is beyond its field.
pub(crate) fn each_block(rows: usize, size: usize, stride: usize, mut transfer: impl FnMut(usize, usize, usize)) {
    if rows == 1 {
        transfer(0, 1, size);
    } else if stride <= X_LIMIT {
        transfer(0, rows, stride);
    } else {
        (0..rows).for_each(|row| transfer(row, 1, size));
    }
}
