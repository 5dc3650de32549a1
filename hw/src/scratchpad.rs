//! The scratchpads that loads alone write: UOP, INP and WGT.
//!
//! ```text
//!  load:  index, chunk or sub, bus word, padding --> lanes of the write port --+
//!                                                                             [ block RAM ] --> read port, a cycle later
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `write`, `write_pad`, `write_index`, `write_chunk`, `write_sub` | | as in `loader.rs` |
//! | `bus_word` | bus | the word that the write is made of |
//! | `four_bits` (WGT) | 1 | it has weights of 4 bits |
//! | `pad_value` | 8 | what padding holds |
//! | `read`, `read_index` | 1, index | the element to read |
//! | `word` (UOP), `element` (WGT) | element | what was read in the cycle before |
//! | `element` (INP) | element | the element, chosen among the banks |
//! | `vector` (INP) | taps * lanes * 8 | the vectors of LANE: lane by lane of the batch rows |
//!
//! INP has as many banks as LANE needs elements at once, one element wide each; an element's low index bits are its bank. With
//! several taps `vector` has the vectors of all of them, from the one at `read_index` on.
//! GEMM reads an element, LANE a vector; `read_index` counts elements or vectors (`by_vector`). Latency one cycle, one read and
//! one write a cycle.

use tandem_isa::MemoryType;
use tandem_rtl::{MemoryStyle, Module, Net};

use crate::size::{Element, Sizes};

/// How a load meets a scratchpad: the inputs that all of them have.
pub(crate) struct LoadPort<'m> {
    pub write: Net<'m>,
    pub pad: Net<'m>,
    pub index: Net<'m>,
    pub chunk: Net<'m>,
    pub sub: Net<'m>,
    pub bus_word: Net<'m>,
    pub pad_value: Net<'m>,
}

impl<'m> LoadPort<'m> {
    /// Declares the ports.
    pub fn declare(m: &'m Module, sizes: &Sizes) -> LoadPort<'m> {
        LoadPort {
            write: m.input("write", 1),
            pad: m.input("write_pad", 1),
            index: m.input("write_index", 16),
            chunk: m.input("write_chunk", 7),
            sub: m.input("write_sub", 4),
            bus_word: m.input("bus_word", sizes.bus),
            pad_value: m.input("pad_value", 8),
        }
    }

    /// Enables of the lanes of an element, and its data: a bus word in the lane of its chunk, or the element within the bus
    /// word, or padding everywhere.
    pub fn element(&self, m: &'m Module, element: Element) -> (Net<'m>, Net<'m>) {
        let (enable, data) = self.words(m, element);
        (enable, self.pad.mux(self.pad_value.repeat(data.width() / 8), data))
    }

    /// The same without the padding.
    pub fn words(&self, m: &'m Module, element: Element) -> (Net<'m>, Net<'m>) {
        let bits = 8 << element.log_bytes;
        if element.log_chunks == 0 {
            let data = if element.log_subs == 0 {
                self.bus_word
            } else {
                self.bus_word.pick(self.sub.bits(0, element.log_subs), bits)
            };
            return (self.write, data);
        }
        let lanes = 1 << element.log_chunks;
        let chunk = self.chunk.bits(0, element.log_chunks);
        let enables: Vec<Net<'_>> = (0..lanes).map(|lane| self.write & (self.pad | chunk.is(lane.into()))).collect();
        (m.cat(&enables), self.bus_word.repeat(lanes))
    }
}

/// Enables, each of as many lanes in a row as make so many of them all.
pub(crate) fn spread<'m>(m: &'m Module, enables: Net<'m>, lanes: u32) -> Net<'m> {
    let each = lanes / enables.width();
    m.cat(&enables.lanes(enables.width()).into_iter().map(|enable| enable.repeat(each)).collect::<Vec<_>>())
}

/// The micro-ops.
pub fn uop(sizes: &Sizes) -> Module {
    plain("uop_scratchpad", sizes, MemoryType::Uop, "word", |_, _, written| written)
}

/// The weights.
pub fn wgt(sizes: &Sizes) -> Module {
    plain("wgt_scratchpad", sizes, MemoryType::Wgt, "element", |m, load, wide| unpacked(m, sizes, load, wide))
}

/// The write of weights: as they come, or of 4 bits, of which a bus word fills twice its width.
fn unpacked<'m>(m: &'m Module, sizes: &Sizes, load: &LoadPort<'m>, wide: Written<'m>) -> Written<'m> {
    let four_bits = m.input("four_bits", 1);
    if !sizes.config.has_packed_weights() {
        return wide;
    }
    let (enable, data) = load.words(m, sizes.element(MemoryType::Wgt4));
    let weight = |(at, weight): (usize, Net<'m>)| weight.named(&format!("weight_{at}")).sext(8);
    let weights: Vec<Net<'m>> = data.lanes(data.width() / 4).into_iter().enumerate().map(weight).collect();
    let (wide_enable, wide_data) = wide;
    let chosen = (four_bits & !load.pad).mux(m.cat(&weights), wide_data);
    (four_bits.mux(spread(m, enable, wide_enable.width()), wide_enable), chosen)
}

/// A write port: enables of the lanes of an element, and its data.
type Written<'m> = (Net<'m>, Net<'m>);

/// A scratchpad whose elements are read as they are loaded, but for what `changed` makes of a write.
fn plain(
    name: &str,
    sizes: &Sizes,
    memory_type: MemoryType,
    output: &str,
    changed: impl for<'m> Fn(&'m Module, &LoadPort<'m>, Written<'m>) -> Written<'m>,
) -> Module {
    let m = Module::new(name);
    let load = LoadPort::declare(&m, sizes);
    let log_depth = sizes.config.depth(memory_type).trailing_zeros();
    let read = m.input("read", 1);
    let read_index = m.input("read_index", log_depth);
    let (enable, data) = changed(&m, &load, load.element(&m, sizes.element(memory_type)));
    let memory = m.memory("store", log_depth, data.width(), MemoryStyle::Block);
    memory.write(enable, load.index.bits(0, log_depth), data);
    m.output(output, memory.read("q", read, read_index));
    m
}

/// The inputs.
pub fn inp(sizes: &Sizes) -> Module {
    let m = Module::new("inp_scratchpad");
    let load = LoadPort::declare(&m, sizes);
    let config = &sizes.config;
    let log_depth = config.log_inp_depth();
    let log_banks = sizes.inp_banks.trailing_zeros();
    let log_parts = sizes.inp_parts.trailing_zeros();
    let read = m.input("read", 1);
    let by_vector = m.input("by_vector", 1);
    let more_taps = m.input("more_taps", 2);
    // An element, or a vector: with several vectors in an element the index has bits below the element's.
    let read_index = m.input("read_index", log_depth + log_parts);

    let (enable, data) = load.element(&m, sizes.element(MemoryType::Inp));
    let bits = config.inp_elem_bytes() as u32 * 8;
    let log_words = log_depth - log_banks;
    let vector_word = read_index.bits(log_parts, log_depth).resize(log_words);
    let taps = config.lane_taps() as u32;
    let word = if log_banks > 0 && taps == 1 {
        by_vector.mux(vector_word, read_index.bits(log_banks, log_words))
    } else if log_banks > 0 {
        read_index.bits(log_banks, log_words)
    } else {
        by_vector.mux(vector_word, read_index.bits(0, log_words))
    };
    let banks: Vec<Net<'_>> = (0..sizes.inp_banks)
        .map(|bank| {
            let memory = m.memory(&format!("store_{bank}"), log_words, bits, MemoryStyle::Block);
            let (mut write, mut fetch) = (enable, read);
            if log_banks > 0 {
                let mine = load.index.bits(0, log_banks).is(bank.into());
                write = enable & mine.repeat(enable.width());
                let own = read_index.bits(0, log_banks);
                // Of the vectors behind the first one those that are asked for: another may be written just now.
                let wanted =
                    if taps > 1 { by_vector & !more_taps.lt(m.lit(bank.into(), log_banks) - own) } else { by_vector };
                fetch = read & (wanted | own.is(bank.into()));
            }
            memory.write(write, load.index.bits(log_banks, log_words), data);
            // Of the elements from the index on, those in banks before its own lie a word further.
            let further = |bank: u32| m.lit(bank.into(), log_banks).lt(read_index.bits(0, log_banks)) & by_vector;
            let word = if taps > 1 { word + further(bank).zext(log_words) } else { word };
            memory.read(&format!("q_{bank}"), fetch, word)
        })
        .collect();

    let element = if log_banks == 0 {
        banks[0]
    } else {
        let bank = m.data_reg("bank", log_banks);
        m.when(read, || bank.set(read_index.bits(0, log_banks)));
        m.cat(&banks).named("all_banks").pick(bank, bits)
    };
    m.output("element", element);

    // Lane o of batch row b: with more output than input lanes from bank o / block_in, otherwise from a part of the element.
    let (batch, block_in, block_out) = (config.batch() as u32, config.block_in() as u32, config.block_out() as u32);
    let mut vector = Vec::new();
    if taps > 1 {
        let first = m.data_reg("first", log_banks);
        m.when(read, || first.set(read_index.bits(0, log_banks)));
        let all = m.cat(&banks).named("banks");
        let tap = |tap: u32| all.pick(first + m.lit(tap.into(), log_banks), bits);
        m.output("vector", m.cat(&(0..taps).map(tap).collect::<Vec<_>>()));
        return m;
    }
    let part = (log_parts > 0).then(|| {
        let part = m.data_reg("part", log_parts);
        m.when(read, || part.set(read_index.bits(0, log_parts)));
        part
    });
    for b in 0..batch {
        match part {
            Some(part) => {
                let row = banks[0].bits(b * block_in * 8, block_in * 8).named(&format!("row_{b}"));
                vector.push(row.pick(part, block_out * 8));
            }
            None => vector.extend(banks.iter().map(|bank| bank.bits(b * block_in * 8, block_in * 8))),
        }
    }
    m.output("vector", m.cat(&vector));
    m
}
