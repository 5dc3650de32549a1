//! LOAD, LOADPAD and STORE: rows between DRAM and scratchpads.

use std::ops::Range;

use tandem_isa::{HwConfig, Load, LoadPad, MemoryType, Store, semantics};

use crate::dram::Dram;
use crate::scratch::Scratchpads;
use crate::{Bases, Fault};

/// A load in the form that LOAD and LOADPAD share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub memory_type: MemoryType,
    pub sram_base: u32,
    pub dram_base: u32,
    pub y_size: u32,
    pub x_size: u32,
    pub x_stride: u32,
    pub y_pad: [u32; 2],
    pub x_pad: [u32; 2],
    pub pad_value: i8,
}

/// Bytes as STORE moves them: the order of a group of OUT elements in DRAM, where it is not their own.
#[derive(Clone, Debug)]
pub(crate) struct OutOrder {
    group: u32,
    order: Option<Vec<usize>>,
}

impl From<&Load> for Rows {
    fn from(i: &Load) -> Rows {
        Rows {
            memory_type: i.memory_type,
            sram_base: i.sram_base,
            dram_base: i.dram_base,
            y_size: i.y_size,
            x_size: i.x_size,
            x_stride: i.x_stride,
            y_pad: [i.y_pad_0, i.y_pad_1],
            x_pad: [i.x_pad_0, i.x_pad_1],
            pad_value: 0,
        }
    }
}

impl From<&LoadPad> for Rows {
    fn from(i: &LoadPad) -> Rows {
        Rows {
            memory_type: i.memory_type,
            sram_base: i.sram_base,
            dram_base: i.dram_base,
            y_size: i.y_size,
            x_size: i.x_size,
            x_stride: i.x_stride,
            y_pad: [i.y_pad_0, i.y_pad_1],
            x_pad: [i.x_pad_0, i.x_pad_1],
            // The field is eight signed bits.
            pad_value: i.pad_value as i8,
        }
    }
}

impl From<&Store> for Rows {
    fn from(i: &Store) -> Rows {
        Rows {
            memory_type: i.memory_type,
            sram_base: i.sram_base,
            dram_base: i.dram_base,
            y_size: i.y_size,
            x_size: i.x_size,
            x_stride: i.x_stride,
            y_pad: [0; 2],
            x_pad: [0; 2],
            pad_value: 0,
        }
    }
}

impl Rows {
    /// Whether it moves nothing.
    pub fn is_nop(&self) -> bool {
        self.x_size == 0
    }

    /// Scratchpad elements covered, padding included.
    pub fn elements(&self) -> u64 {
        if self.is_nop() {
            return 0;
        }
        u64::from(self.y_pad[0] + self.y_size + self.y_pad[1]) * u64::from(self.x_pad[0] + self.x_size + self.x_pad[1])
    }

    /// DRAM elements moved.
    pub fn moved(&self) -> u64 {
        u64::from(self.y_size) * u64::from(self.x_size)
    }

    /// The scratchpad elements covered.
    pub fn sram(&self, config: &HwConfig) -> Result<Range<usize>, Fault> {
        let (start, depth) = (u64::from(self.sram_base), config.depth(self.memory_type) as u64);
        let end = start + self.elements();
        if end > depth {
            let memory = scratchpad(self.memory_type);
            return Err(Fault::Sram { memory, unit: "element", index: end - 1, depth });
        }
        Ok(start as usize..end as usize)
    }

    /// The DRAM byte ranges, row by row: address and length. Rows without a gap between them are one range.
    pub fn dram<'a>(&'a self, config: &HwConfig, bases: &Bases) -> impl Iterator<Item = (u64, usize)> + use<'a> {
        let elem = config.elem_bytes(self.memory_type) as u64;
        let base = u64::from(bases.of(self.memory_type));
        let (rows, len) = if self.is_nop() {
            (0, 0)
        } else if self.x_stride == self.x_size && self.y_size > 0 {
            (1, self.moved())
        } else {
            (self.y_size, u64::from(self.x_size))
        };
        (0..rows).map(move |row| {
            let first = u64::from(self.dram_base) + u64::from(row) * u64::from(self.x_stride);
            (base + first * elem, (len * elem) as usize)
        })
    }
}

impl OutOrder {
    pub fn new(config: &HwConfig) -> OutOrder {
        let order = semantics::out_inp_order(config);
        let group = semantics::out_inp_group(config) as u32;
        OutOrder { group, order: (!order.is_sorted()).then_some(order) }
    }

    /// The permutation of a store, where it has one.
    fn of(&self, rows: &Rows) -> Result<Option<&[usize]>, Fault> {
        if rows.memory_type != MemoryType::OutInp {
            return Ok(None);
        }
        if !rows.x_size.is_multiple_of(self.group) {
            return Err(Fault::OutInpGroup { x_size: rows.x_size, group: self.group });
        }
        Ok(self.order.as_deref())
    }
}

/// Runs a load. Nothing is written where a part of it is out of range.
pub(crate) fn load(
    rows: &Rows,
    config: &HwConfig,
    bases: &Bases,
    dram: &Dram,
    pads: &mut Scratchpads,
) -> Result<(), Fault> {
    if rows.is_nop() {
        return Ok(());
    }
    let sram = rows.sram(config)?;
    for (addr, len) in rows.dram(config, bases) {
        dram.slice(addr, len).ok_or(Fault::Dram { addr, bytes: len as u64 })?;
    }
    let pad = rows.pad_value;
    match rows.memory_type {
        MemoryType::Inp => {
            let elem = config.inp_elem_bytes();
            place(rows, config, bases, dram, pads.inp.get_mut(sram.start * elem..sram.end * elem), elem, |to, from| {
                match from {
                    Some(from) => to.copy_from_slice(from),
                    None => to.fill(pad as u8),
                }
            });
            pads.packed.update_inp(&pads.inp, sram.start * elem..sram.end * elem);
        }
        MemoryType::Wgt | MemoryType::Wgt4 => {
            let elem = config.wgt_elem_bytes();
            let packed = rows.memory_type == MemoryType::Wgt4;
            place(rows, config, bases, dram, pads.wgt.get_mut(sram.start * elem..sram.end * elem), elem, |to, from| {
                match from {
                    Some(from) if packed => to.as_chunks_mut::<2>().0.iter_mut().zip(from).for_each(|(to, &byte)| {
                        *to = semantics::unpack_weights(byte).map(|weight| weight as u8);
                    }),
                    Some(from) => to.copy_from_slice(from),
                    None => to.fill(pad as u8),
                }
            });
            pads.packed.update_wgt(&pads.wgt, sram);
        }
        MemoryType::Uop => {
            place(rows, config, bases, dram, pads.uop.get_mut(sram), 1, |to, from| match from {
                Some(from) => {
                    let words = from.as_chunks::<4>().0;
                    to.iter_mut().zip(words).for_each(|(to, word)| *to = u32::from_le_bytes(*word));
                }
                None => to.fill(0),
            });
        }
        MemoryType::Acc => {
            let lanes = config.out_elem_bytes();
            place(
                rows,
                config,
                bases,
                dram,
                pads.acc.get_mut(sram.start * lanes..sram.end * lanes),
                lanes,
                |to, from| match from {
                    Some(from) => {
                        let words = from.as_chunks::<4>().0;
                        to.iter_mut().zip(words).for_each(|(to, word)| *to = i32::from_le_bytes(*word));
                    }
                    None => to.fill(i32::from(pad)),
                },
            );
        }
        MemoryType::Acc8 => {
            let lanes = config.out_elem_bytes();
            place(
                rows,
                config,
                bases,
                dram,
                pads.acc.get_mut(sram.start * lanes..sram.end * lanes),
                lanes,
                |to, from| match from {
                    Some(from) => to.iter_mut().zip(from).for_each(|(to, &byte)| *to = semantics::extend_acc8(byte)),
                    None => to.fill(i32::from(pad)),
                },
            );
        }
        // The decoder lets no load of these through.
        MemoryType::Out | MemoryType::OutInp => {}
    }
    Ok(())
}

/// Runs a store; `written` is told of each range of DRAM that it wrote, as all rows together have left it.
pub(crate) fn store(
    rows: &Rows,
    config: &HwConfig,
    bases: &Bases,
    order: &OutOrder,
    dram: &mut Dram,
    pads: &Scratchpads,
    mut written: impl FnMut(u64, &[u8]),
) -> Result<(), Fault> {
    if rows.is_nop() {
        return Ok(());
    }
    let order = order.of(rows)?;
    let lanes = config.out_elem_bytes();
    let sram = rows.sram(config)?;
    for (addr, len) in rows.dram(config, bases) {
        dram.slice(addr, len).ok_or(Fault::Dram { addr, bytes: len as u64 })?;
    }
    let mut start = sram.start * lanes;
    for (addr, len) in rows.dram(config, bases) {
        let Some(to) = dram.slice_mut(addr, len) else { continue };
        // A lane is one byte in DRAM.
        let source = start..start + len;
        start += len;
        match (&pads.out, pads.acc.get(source.clone())) {
            (Some(out), _) => {
                if let Some(out) = out.get(source) {
                    to.copy_from_slice(out);
                }
            }
            (None, Some(acc)) => {
                to.iter_mut().zip(acc).for_each(|(to, &acc)| *to = semantics::truncate_out(acc) as u8);
                let elements = source.start / lanes..source.end / lanes;
                if pads.cleared.any(elements.clone()) {
                    for (index, to) in elements.zip(to.chunks_exact_mut(lanes)) {
                        if let Some(kept) = pads.cleared.get(index, lanes) {
                            to.copy_from_slice(kept);
                        }
                    }
                }
            }
            (None, None) => {}
        }
        if let Some(order) = order {
            for group in to.chunks_exact_mut(order.len()) {
                let plain = group.to_vec();
                group.iter_mut().zip(order).for_each(|(to, &from)| {
                    *to = plain.get(from).copied().unwrap_or_default();
                });
            }
        }
    }
    for (addr, len) in rows.dram(config, bases) {
        written(addr, dram.slice(addr, len).unwrap_or_default());
    }
    Ok(())
}

/// Walks the elements of a load in scratchpad order, calling `put` with the target and with bytes, or with none for padding.
/// `width` is the number of values of `T` in an element.
fn place<T>(
    rows: &Rows,
    config: &HwConfig,
    bases: &Bases,
    dram: &Dram,
    target: Option<&mut [T]>,
    width: usize,
    put: impl Fn(&mut [T], Option<&[u8]>),
) {
    let Some(mut target) = target else { return };
    let mut next = |elements: usize, bytes: Option<&[u8]>| {
        if elements > 0
            && let Some((head, tail)) = std::mem::take(&mut target).split_at_mut_checked(elements * width)
        {
            put(head, bytes);
            target = tail;
        }
    };
    let row = (rows.x_pad[0] + rows.x_size + rows.x_pad[1]) as usize;
    next(rows.y_pad[0] as usize * row, None);
    let elem = config.elem_bytes(rows.memory_type);
    for (addr, len) in rows.dram(config, bases) {
        let Some(bytes) = dram.slice(addr, len) else { continue };
        // A range of several rows comes without a gap in DRAM, but the padding still lies between them.
        let per_row = if rows.x_pad == [0, 0] { bytes.len() } else { rows.x_size as usize * elem };
        for bytes in bytes.chunks_exact(per_row.max(1)) {
            next(rows.x_pad[0] as usize, None);
            next(bytes.len() / elem, Some(bytes));
            next(rows.x_pad[1] as usize, None);
        }
    }
    next(rows.y_pad[1] as usize * row, None);
}

/// The scratchpad's name in messages.
pub(crate) fn scratchpad(memory_type: MemoryType) -> &'static str {
    match memory_type {
        MemoryType::Uop => "UOP",
        MemoryType::Wgt | MemoryType::Wgt4 => "WGT",
        MemoryType::Inp => "INP",
        MemoryType::Acc | MemoryType::Acc8 | MemoryType::Out | MemoryType::OutInp => "ACC",
    }
}
