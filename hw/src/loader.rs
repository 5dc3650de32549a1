//! Moves rows from DRAM into a scratchpad, surrounded by padding: what LOAD and LOADPAD do, for the load and the compute unit.
//!
//! ```text
//!            +-- rows --> request_*                                       (runs ahead)
//!  start --> |
//!            +-- top, left, data, right, bottom <-- data_*  --> write_*   (element by element)
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `start` | 1 | begin with the fields at the inputs, which stay until `done`; `x_size` is not 0 |
//! | `kind` | number | which of the loader's memory types is moved |
//! | `sram_base`, `dram_address` | 16, dram_bits | first element; first byte, a multiple of the element |
//! | `y_size`, `x_size`, `x_stride`, `y_pad_*`, `x_pad_*` | 16, 4 | as in the instruction |
//! | `request_valid`, `_ready`, `_address`, `_beats` | 1, 1, word address, 5 | bursts to read |
//! | `data_valid`, `data_ready` | 1 | words of the bursts, in order |
//! | `write` | 1 | an element, or a chunk of one, goes to the scratchpad |
//! | `write_pad` | 1 | it is padding and fills the element |
//! | `write_index` | 16 | the element |
//! | `write_chunk` | 7 | the bus word within an element that is larger than one |
//! | `write_sub` | 4 | the element within a bus word that is larger than one |
//! | `element` | 1 | an element came from DRAM completely: for the counters |
//! | `busy`, `waiting` | 1 | at work; at work and without data |
//! | `overflow`, `beyond` | 1 | an element lies beyond the scratchpad, a row beyond DRAM: the block stands still |
//!
//! Latency two cycles and the memory's; one bus word, or one element where it is smaller, a cycle. Padding is an element a cycle.

use tandem_isa::MemoryType;
use tandem_rtl::{Module, Net, clog2};

use crate::rows::rows;
use crate::size::{EXTENT_BITS, Element, Sizes};

/// Bits of the length of a row of elements, padding included.
const COLUMN_BITS: u32 = EXTENT_BITS + 1;

/// The block for these memory types; `name` distinguishes the instances.
pub fn loader(name: &str, sizes: &Sizes, types: &[MemoryType]) -> Module {
    let m = Module::new(name);
    describe(&m, name, sizes, types);
    m
}

fn describe<'m>(m: &'m Module, name: &str, sizes: &Sizes, types: &[MemoryType]) {
    let low = sizes.log_bus_bytes;
    let start = m.input("start", 1);
    let kind = m.input("kind", clog2(types.len()));
    let sram_base = m.input("sram_base", 16);
    let dram_address = m.input("dram_address", sizes.config.dram_bits());
    let y_size = m.input("y_size", 16);
    let x_size = m.input("x_size", 16);
    let x_stride = m.input("x_stride", 16);
    let [y_pad_0, y_pad_1, x_pad_0, x_pad_1] =
        ["y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1"].map(|name| m.input(name, 4));
    let request_ready = m.input("request_ready", 1);
    let data_valid = m.input("data_valid", 1);

    // What follows from the type: a choice among constants and fixed shifts.
    let elements: Vec<Element> = types.iter().map(|&memory_type| sizes.element(memory_type)).collect();
    let by_type = |value: &dyn Fn(Element) -> Net<'m>| {
        m.choose(kind, &elements.iter().map(|&element| value(element)).collect::<Vec<_>>())
    };
    let row_bits = elements.iter().map(|&element| sizes.row_bytes(element)).max().unwrap_or(EXTENT_BITS);
    let bytes = |extent: Net<'m>| {
        by_type(&|element| match element.log_bytes {
            0 => extent.zext(row_bits),
            log => m.cat(&[m.lit(0, log), extent]).zext(row_bits),
        })
    };
    let row_bytes = bytes(x_size).named("row_bytes");
    let stride_bytes = bytes(x_stride).named("stride_bytes");

    let bursts = m.instance(
        "walk",
        &rows(&format!("{name}_walk"), sizes, row_bits),
        &[
            ("start", start),
            ("address", dram_address),
            ("rows", y_size),
            ("row_bytes", row_bytes),
            ("stride_bytes", stride_bytes),
            ("burst_ready", request_ready),
        ],
    );

    // The writer walks the elements in scratchpad order.
    let phase = m.fsm("phase", &["idle", "setup", "top", "left", "data", "right", "bottom", "stuck"]);
    let index = m.reg("index", 17, 0);
    let row = m.reg("row", 16, 0);
    let column = m.reg("column", COLUMN_BITS, 0);
    let chunk = m.reg("chunk", 7, 0);
    let sub = m.reg("sub", 4, 0);
    // Where the next row begins within a bus word.
    let place = m.reg("place", low, 0);
    let row_length =
        (x_size.zext(COLUMN_BITS) + x_pad_0.zext(COLUMN_BITS) + x_pad_1.zext(COLUMN_BITS)).named("row_length");

    // Chunks of an element and elements of a word, less one; at least one of the two is 0.
    let larger = by_type(&|element| m.lit(u128::from(element.log_bytes > low), 1)).named("larger");
    let last_chunk = by_type(&|element| m.lit((1 << element.log_chunks) - 1, 7)).named("last_chunk");
    let last_sub = by_type(&|element| m.lit((1 << element.log_subs) - 1, 4)).named("last_sub");
    let first_sub = by_type(&|element| match element.log_subs {
        0 => m.lit(0, 4),
        subs => place.bits(element.log_bytes, subs).zext(4),
    });

    let enter_row = || {
        let padded = x_pad_0.any();
        column.set(padded.mux(x_pad_0.zext(COLUMN_BITS), x_size.zext(COLUMN_BITS)));
        m.when_else(padded, || phase.go("left"), || phase.go("data"));
        sub.set(first_sub);
        place.set(place + stride_bytes.bits(0, low));
    };
    let enter_bottom = || {
        row.set(y_pad_1.zext(16));
        column.set(row_length);
        m.when_else(y_pad_1.any(), || phase.go("bottom"), || phase.go("idle"));
    };
    let enter_rows = || {
        m.when_else(
            y_size.any(),
            || {
                row.set(y_size);
                enter_row();
            },
            enter_bottom,
        );
    };
    let next_row = || {
        m.when_else(row.is(1), enter_bottom, || {
            row.set(row.dec());
            enter_row();
        });
    };

    let in_data = phase.at("data").named("in_data");
    let padding = m.any_of(&["top", "left", "right", "bottom"].map(|name| phase.at(name))).named("padding");
    let depths: Vec<Net<'_>> = types
        .iter()
        .map(|&memory_type| {
            let log = sizes.config.depth(memory_type).trailing_zeros();
            !index.bits(log, 17 - log).any()
        })
        .collect();
    let fits = m.choose(kind, &depths).named("fits");
    let taken = (in_data & data_valid).named("taken");
    let whole = (taken & chunk.eq(last_chunk)).named("whole");
    let step = (padding | whole).named("step");
    let row_end = column.is(1).named("row_end");

    m.when(start, || {
        phase.go("setup");
        index.set(sram_base.zext(17));
        chunk.set_to(0);
        place.set(dram_address.bits(0, low));
    });
    m.when(phase.at("setup"), || {
        row.set(y_pad_0.zext(16));
        column.set(row_length);
        m.when_else(y_pad_0.any(), || phase.go("top"), enter_rows);
    });
    m.when(taken, || {
        m.when_else(whole, || chunk.set_to(0), || chunk.set(chunk.inc()));
        sub.set((sub.inc()) & last_sub);
    });
    m.when(step, || {
        index.set(index.inc());
        column.set(column.dec());
        m.when(row_end, || {
            m.when(phase.at("top") | phase.at("bottom"), || {
                row.set(row.dec());
                column.set(row_length);
                m.when(row.is(1), || {
                    m.when_else(phase.at("top"), enter_rows, || phase.go("idle"));
                });
            });
            m.when(phase.at("left"), || {
                column.set(x_size.zext(COLUMN_BITS));
                phase.go("data");
            });
            m.when(in_data, || {
                m.when_else(
                    x_pad_1.any(),
                    || {
                        column.set(x_pad_1.zext(COLUMN_BITS));
                        phase.go("right");
                    },
                    next_row,
                );
            });
            m.when(phase.at("right"), next_row);
        });
    });
    m.when((padding | taken) & !fits, || phase.go("stuck"));

    m.output("request_valid", bursts.get("burst_valid"));
    m.output("request_address", bursts.get("burst_address"));
    m.output("request_beats", bursts.get("burst_beats"));
    // A word is done with its last element of the row; one that is larger than the bus takes whole words.
    m.output("data_ready", in_data & (larger | sub.eq(last_sub) | row_end));
    m.output("write", (padding | taken) & fits);
    m.output("write_pad", padding);
    m.output("write_index", index.bits(0, 16));
    m.output("write_chunk", chunk);
    m.output("write_sub", sub);
    m.output("element", whole & fits);
    m.output("busy", !phase.at("idle"));
    m.output("waiting", in_data & !data_valid);
    m.output("overflow", phase.at("stuck"));
    m.output("beyond", bursts.get("beyond"));
}
