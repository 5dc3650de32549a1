//! Random loads, stores and NOPs.

use tandem_isa::{Dep, HwConfig, Insn, Load, LoadPad, MemoryType, Queue, Store, semantics};

use super::Random;
use super::image::Image;
use super::space::{Space, Window};

/// Bytes that no AXI burst may cross.
const BOUNDARY: u32 = 4096;

/// Makes instructions of one program.
pub(super) struct Maker<'a> {
    pub config: &'a HwConfig,
    pub random: Random,
    pub space: Space,
    pub image: Image,
    /// Operands that an instruction does not read may lie anywhere.
    pub unread: bool,
    /// Whether rows may be as long as a window.
    pub large: bool,
}

/// Rows of a load: sizes and padding.
#[derive(Clone, Copy, Debug, Default)]
struct Shape {
    y_size: u32,
    x_size: u32,
    pads: [u32; 4],
}

impl Shape {
    fn elements(&self) -> u32 {
        (self.y_size + self.pads[0] + self.pads[1]) * (self.x_size + self.pads[2] + self.pads[3])
    }
}

impl Maker<'_> {
    /// A load of a part of a window; `memory` is INP, WGT or ACC, and `horizon` the last step whose stores it may read.
    pub fn load(&mut self, memory: MemoryType, window: Window, horizon: i64) -> Insn {
        let shape = self.shape(window.len);
        let base = window.base + self.random.below(window.len - shape.elements().min(window.len) + 1);
        self.rows(memory, base, shape, horizon)
    }

    /// Loads that together write every element of a window.
    pub fn fill(&mut self, memory: MemoryType, window: Window) -> Vec<Insn> {
        let mut insns = Vec::new();
        let mut at = window.base;
        // The last of many small pieces is one row of all that is left.
        while at < window.end() {
            let left = window.end() - at;
            let shape = match insns.len() {
                0..3 if !self.random.once_in(4) => self.shape(left),
                _ => Shape { y_size: 1, x_size: left, ..Shape::default() },
            };
            insns.push(self.rows(memory, at, shape, i64::MIN));
            at += shape.elements();
        }
        insns
    }

    /// Loads of all sets of requantisation parameters.
    pub fn params(&mut self) -> Vec<Insn> {
        let mut insns = Vec::new();
        for set in 0..self.space.params.len() {
            let (dram_base, mode) = Image::param_set(self.config, &mut self.random);
            let Some(slot) = self.space.params.get_mut(set) else { continue };
            slot.1 = mode;
            // A set is four consecutive elements: one row of four, or four rows of one.
            let (y_size, x_size) = if self.random.flag() { (1, 4) } else { (4, 1) };
            let (memory_type, sram_base, x_stride) = (MemoryType::Acc, slot.0, x_size);
            insns.push(Load { memory_type, sram_base, dram_base, y_size, x_size, x_stride, ..Load::default() }.into());
        }
        insns
    }

    /// A store of a part of a window of ACC.
    pub fn store(&mut self, window: Window, step: i64) -> Insn {
        let random = &mut self.random;
        let permuted = self.config.profile().has_extension() && random.flag();
        let (memory_type, group) = if permuted {
            (MemoryType::OutInp, semantics::out_inp_group(self.config) as u32)
        } else {
            (MemoryType::Out, 1)
        };
        let most = window.len / group;
        if most == 0 {
            return self.nop(Queue::Store);
        }
        let x_groups = match random.below(4) {
            0 => random.between(1, most),
            1 if self.large => most,
            1 | 2 => random.between(1, most.min(3)),
            _ => random.between(1, most.min(6)),
        };
        // Many short rows are many bursts under way.
        let (rows, many) = (most / x_groups, random.once_in(3));
        let y_size = match random.below(16) {
            0 => 0,
            _ if many => rows,
            _ => random.between(1, rows.min(12)),
        };
        let x_size = x_groups * group;
        let sram_base = window.base + random.below(window.len - y_size.max(1) * x_size + 1);
        let elem = self.config.out_elem_bytes() as u32;
        let (first, end) = Image::out(self.config);
        let x_stride = stride(random, x_size, y_size, end - first);
        let dram_base = place(random, first, end - (y_size.saturating_sub(1) * x_stride + x_size), elem);
        for row in 0..y_size {
            let start = u64::from(dram_base + row * x_stride) * u64::from(elem);
            self.image.note(start, start + u64::from(x_size * elem), step);
        }
        Store { dep: Dep::default(), memory_type, sram_base, dram_base, y_size, x_size, x_stride }.into()
    }

    /// An instruction that moves nothing, in one of its many encodings.
    pub fn nop(&mut self, queue: Queue) -> Insn {
        let random = &mut self.random;
        if random.flag() {
            return Insn::nop(queue, Dep::default());
        }
        let (sram_base, dram_base) = (random.below(1 << 16), random.next() as u32);
        let (y_size, x_stride) = (random.below(1 << 16), random.below(1 << 16));
        if queue == Queue::Store {
            let memory_type = match self.config.profile().has_extension() {
                true => {
                    let types = MemoryType::ALL.iter().filter(|&&memory_type| self.config.has_memory_type(memory_type));
                    random.pick(&types.copied().collect::<Vec<_>>())
                }
                false => random.pick(&[MemoryType::Uop, MemoryType::Out]),
            };
            return Store { memory_type, sram_base, dram_base, y_size, x_stride, ..Store::default() }.into();
        }
        let memory_type = match queue {
            Queue::Load => random.pick(&[MemoryType::Inp, MemoryType::Wgt]),
            _ => random.pick(&[MemoryType::Uop, MemoryType::Acc, MemoryType::Acc8]),
        };
        let (x_pad_0, y_pad_1) = (random.below(16), random.below(16));
        let load = Load { memory_type, sram_base, dram_base, y_size, x_stride, x_pad_0, y_pad_1, ..Load::default() };
        if !self.config.profile().has_extension()
            || matches!(memory_type, MemoryType::Uop | MemoryType::Acc)
            || random.flag()
        {
            return load.into();
        }
        let pad_value = random.below(256) as i32 - 128;
        let dram_base = dram_base >> 2;
        LoadPad { memory_type, sram_base, dram_base, y_size, x_stride, y_pad_1, pad_value, ..LoadPad::default() }.into()
    }

    /// Rows that cover at most so many elements, and at least one.
    fn shape(&mut self, most: u32) -> Shape {
        let random = &mut self.random;
        let single = Shape { y_size: 1, x_size: 1, pads: [0; 4] };
        let shape = match random.below(8) {
            0 => single,
            1 | 2 => Shape { x_size: random.between(1, most), ..single },
            3 if self.large => Shape { x_size: most.max(1), ..single },
            3..=5 => {
                let x_size = random.between(1, most.min(9));
                Shape { x_size, y_size: random.between(1, (most / x_size.max(1)).clamp(1, 10)), pads: [0; 4] }
            }
            _ => {
                let pads: [u32; 4] = std::array::from_fn(|_| match random.below(6) {
                    0..3 => 0,
                    3 | 4 => random.below(4),
                    _ => random.below(16),
                });
                // No row at all leaves the padding alone.
                Shape { y_size: random.below(5), x_size: random.between(1, 6), pads }
            }
        };
        let small =
            Shape { y_size: shape.y_size.min(1), x_size: shape.x_size.min(2), pads: shape.pads.map(|pad| pad.min(1)) };
        [shape, small].into_iter().find(|shape| (1..=most).contains(&shape.elements())).unwrap_or(single)
    }

    fn rows(&mut self, memory: MemoryType, sram_base: u32, shape: Shape, horizon: i64) -> Insn {
        let extension = self.config.profile().has_extension();
        let random = &mut self.random;
        let memory_type = match memory {
            MemoryType::Acc if random.flag() => MemoryType::Acc8,
            MemoryType::Wgt if self.config.has_packed_weights() && random.flag() => MemoryType::Wgt4,
            other => other,
        };
        let elem = self.config.elem_bytes(memory_type) as u32;
        let Shape { y_size, mut x_size, pads: [y_pad_0, y_pad_1, x_pad_0, x_pad_1] } = shape;
        let (first, end) = Image::data(self.config, memory_type);
        let mut x_stride = stride(random, x_size, y_size, end - first);
        let mut dram_base = place(random, first, end - (y_size.saturating_sub(1) * x_stride + x_size), elem);
        if y_size == 1 && random.flag() {
            // What an earlier store has written, as far as it goes; the scratchpad elements stay the same.
            if let Some((stored, count)) = self.image.stored(random, u64::from(elem), horizon, x_size)
                && count == x_size
            {
                (dram_base, x_size) = (stored, count);
                x_stride = random.below(1 << 16);
            }
        }
        let padded = shape.pads != [0; 4];
        if extension
            && !matches!(memory_type, MemoryType::Acc | MemoryType::Wgt4)
            && (padded || random.once_in(8))
            && !random.once_in(3)
        {
            let pad_value = random.below(256) as i32 - 128;
            return LoadPad {
                dep: Dep::default(),
                memory_type,
                sram_base,
                dram_base,
                pad_value,
                y_size,
                x_size,
                x_stride,
                y_pad_0,
                y_pad_1,
                x_pad_0,
                x_pad_1,
            }
            .into();
        }
        Load {
            dep: Dep::default(),
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
        }
        .into()
    }
}

/// A distance between rows that keeps them within `room` elements: without a gap, overlapping, with a small or a wide gap.
fn stride(random: &mut Random, x_size: u32, y_size: u32, room: u32) -> u32 {
    if y_size < 2 {
        // It is not used.
        return if random.flag() { x_size } else { random.below(1 << 16) };
    }
    let most = (room.saturating_sub(x_size) / (y_size - 1)).min((1 << 16) - 1);
    let wanted = match random.below(6) {
        0 | 1 => x_size,
        2 => random.below(x_size),
        3 => 0,
        4 => x_size + random.below(6),
        _ => random.between(x_size, most),
    };
    wanted.min(most)
}

/// A first element of `first..=last`, often so that what follows crosses a boundary of bursts.
fn place(random: &mut Random, first: u32, last: u32, elem: u32) -> u32 {
    let at = random.between(first, last.max(first));
    if random.flag() {
        return at;
    }
    let boundary = (at * elem).next_multiple_of(BOUNDARY) / elem;
    boundary.saturating_sub(random.below(5)).clamp(first, last.max(first))
}
