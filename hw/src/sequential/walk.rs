//! Moves the rows of LOAD, LOADPAD and STORE, one 32-bit word of DRAM at a time.
//!
//! ```text
//!  start --> rows: top, middle, bottom --> columns: left, middle, right --> words of an element
//!                     |  address += stride     |  padding outside the two middles  |  read, then put;  or get, then write
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `start` | 1 | begin with the fields at the inputs, which stay until `busy` falls |
//! | `stores` | 1 | from the scratchpad to DRAM, else from DRAM to the scratchpad |
//! | `narrow` | 1 | each byte of a word is an element's lane: ACC8 |
//! | `kind` | 3 | what is moved: 0 UOP, 1 WGT, 2 INP, 3 ACC, 4 ACC8 or OUT |
//! | `base` | 30 | address of the word that `dram_base` counts from |
//! | `dram_base`, `sram_base`, `y_size`, `x_size`, `x_stride`, `y_pad_*`, `x_pad_*` | | as in the instruction |
//! | `moved` | 1 | the word asked for has been read or written |
//! | `asks`, `address` | 1, word address | a word is to be read or written |
//! | `fills` | 1 | the word at hand is to be padding |
//! | `gets` | 1 | the element `index` is to be read from ACC |
//! | `put` | 1 | the word at hand goes to the scratchpad |
//! | `index`, `word`, `byte_number` | | the element, the word of it, and with `narrow` the byte of the word |
//! | `element` | 1 | an element has been moved: for the counters |
//! | `busy`, `overflow`, `out_of_reach` | 1 | at work; an index beyond the scratchpad, an address beyond DRAM: the block stands still |
//!
//! A word takes the memory's time and two cycles, a row two cycles more.

use tandem_isa::MemoryType;
use tandem_rtl::{Module, Net};

use crate::size::Sizes;

/// Bits of the address of a word, with room to see that it is out of reach: a row begins at most one stride too far.
fn address_bits(sizes: &Sizes) -> u32 {
    (sizes.config.dram_bits() - 2).max(16 + log_words(sizes)) + 1
}

/// Bits of the number of a word in the largest element, at least one.
fn log_words(sizes: &Sizes) -> u32 {
    let config = &sizes.config;
    let largest = config.wgt_elem_bytes().max(config.acc_elem_bytes());
    (largest as u32 / 4).trailing_zeros().max(1)
}

/// The block.
pub(crate) fn walk(sizes: &Sizes) -> Module {
    let m = Module::new("walk");
    let reach = sizes.config.dram_bits() - 2;
    let (bits, log_word) = (address_bits(sizes), log_words(sizes));
    let start = m.input("start", 1);
    let stores = m.input("stores", 1);
    let narrow = m.input("narrow", 1);
    let kind = m.input("kind", 3);
    let base = m.input("base", 30);
    let dram_base = m.input("dram_base", 32);
    let sram_base = m.input("sram_base", 16);
    let [y_size, x_size, x_stride] = ["y_size", "x_size", "x_stride"].map(|name| m.input(name, 16));
    let [y_pad_0, y_pad_1, x_pad_0, x_pad_1] =
        ["y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1"].map(|name| m.input(name, 4));
    let moved = m.input("moved", 1);

    let phase = m.fsm("phase", &["idle", "row", "column", "element", "put", "stuck", "far"]);
    // Before, within and behind the rows and columns that DRAM holds.
    let (row_part, column_part) = (m.data_reg("row_part", 2), m.data_reg("column_part", 2));
    let (rows, columns) = (m.data_reg("rows", 16), m.data_reg("columns", 16));
    let index = m.data_reg("at_index", 17);
    let (row, at) = (m.data_reg("row_address", bits), m.data_reg("at_address", bits));
    let (word, byte) = (m.data_reg("at_word", log_word), m.data_reg("at_byte", 2));

    // Words from the base to the first element.
    let types = [MemoryType::Uop, MemoryType::Wgt, MemoryType::Inp, MemoryType::Acc, MemoryType::Acc8];
    let logs = types.map(|memory_type| (sizes.config.elem_bytes(memory_type) as u32 / 4).trailing_zeros());
    let offset = scaled(&m, kind, &logs, dram_base.zext(48)).named("offset");
    let last_word = m.choose(kind, &logs.map(|log| m.lit((1 << log) - 1, log_word)));
    let first = (base.zext(48) + offset).named("first");
    let stride = scaled(&m, kind, &logs, x_stride.zext(bits)).named("stride");
    let pad = (!row_part.is(1) | !column_part.is(1)).named("padding");
    let next_row = row_part.inc().named("next_row_part");
    let next_column = column_part.inc().named("next_column_part");

    m.when(start, || {
        index.set(sram_base.zext(17));
        row.set(first.bits(0, bits));
        row_part.set_to(0);
        rows.set(y_pad_0.zext(16));
        m.when_else(first.bits(reach, 48 - reach).any(), || phase.go("far"), || phase.go("row"));
    });
    m.when(phase.at("row"), || {
        column_part.set_to(0);
        columns.set(x_pad_0.zext(16));
        at.set(row);
        m.when_else(
            rows.any(),
            || phase.go("column"),
            || {
                row_part.set(next_row);
                rows.set(row_part.bit(0).mux(y_pad_1.zext(16), y_size));
                m.when(row_part.bit(1), || phase.go("idle"));
            },
        );
    });
    m.when(phase.at("column"), || {
        word.set_to(0);
        byte.set_to(0);
        m.when_else(
            columns.any(),
            || phase.go("element"),
            || {
                column_part.set(next_column);
                columns.set(column_part.bit(0).mux(x_pad_1.zext(16), x_size));
                m.when(column_part.bit(1), || {
                    rows.set(rows.dec());
                    m.when(row_part.bit(0), || row.set(row + stride));
                    phase.go("row");
                });
            },
        );
    });
    let inside = phase.at("element").named("at_element");
    let logs = types.map(|memory_type| sizes.config.depth(memory_type).trailing_zeros());
    let overflow = m.choose(kind, &logs.map(|log| index.bits(log, 17 - log).any())).named("too_far");
    let beyond = (at.bits(reach, bits - reach).any() & !pad).named("beyond");
    let last = word.eq(last_word).named("last");
    m.when(inside, || {
        m.when_else(
            overflow,
            || phase.go("stuck"),
            || m.when_else(beyond, || phase.go("far"), || m.when(pad | moved, || phase.go("put"))),
        );
    });
    let put = phase.at("put").named("puts");
    let done_word = (put & (!narrow | byte.all())).named("whole_word");
    let whole = (done_word & last).named("whole");
    m.when(put, || {
        byte.set(byte.inc());
        m.when(done_word, || {
            word.set(word.inc());
            m.when(!pad, || at.set(at.inc()));
            m.when_else(
                last,
                || {
                    index.set(index.inc());
                    columns.set(columns.dec());
                    phase.go("column");
                },
                || phase.go("element"),
            );
        });
    });

    m.output("asks", inside & !overflow & !beyond & !pad);
    m.output("address", at.bits(0, reach));
    m.output("gets", phase.at("column") & stores);
    m.output("fills", inside & pad);
    m.output("put", put & !stores);
    m.output("index", index.bits(0, logs.into_iter().max().unwrap_or(16)));
    m.output("word", word);
    m.output("byte_number", byte);
    m.output("element", whole & !pad);
    m.output("busy", !phase.at("idle"));
    m.output("overflow", phase.at("stuck"));
    m.output("out_of_reach", phase.at("far"));
    m
}

/// Elements in words, by the logarithms of the words of an element of each kind.
fn scaled<'m>(m: &'m Module, kind: Net<'m>, logs: &[u32], elements: Net<'m>) -> Net<'m> {
    let width = elements.width();
    let shifted = logs.iter().map(|&log| match log {
        0 => elements,
        _ => m.cat(&[m.lit(0, log), elements.bits(0, width - log)]),
    });
    m.choose(kind, &shifted.collect::<Vec<_>>())
}
