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
//! | `log_elem` | 4 | the element's bytes in DRAM, as a power of two |
//! | `sram_base`, `dram_address` | 16, 32 | first element; first byte, a multiple of the element |
//! | `y_size`, `x_size`, `x_stride`, `y_pad_*`, `x_pad_*` | 16, 4 | as in the instruction |
//! | `depth` | 17 | elements of the scratchpad |
//! | `request_valid`, `_ready`, `_address`, `_beats` | 1, 1, word address, 5 | bursts to read |
//! | `data_valid`, `data_ready` | 1 | words of the bursts, in order |
//! | `write` | 1 | an element, or a chunk of one, goes to the scratchpad |
//! | `write_pad` | 1 | it is padding and fills the element |
//! | `write_index` | 16 | the element |
//! | `write_chunk` | 7 | the bus word within an element that is larger than one |
//! | `write_sub` | 4 | the element within a bus word that is larger than one |
//! | `element` | 1 | an element came from DRAM completely: for the counters |
//! | `busy`, `waiting` | 1 | at work; at work and without data |
//! | `overflow` | 1 | an element lies beyond the depth: the block stands still |
//!
//! Latency two cycles and the memory's; one bus word, or one element where it is smaller, a cycle. Padding is an element a cycle.

use tandem_rtl::Module;

use crate::rows::rows;
use crate::size::Sizes;

/// The block; `name` distinguishes the instances.
pub fn loader(name: &str, sizes: &Sizes) -> Module {
    let m = Module::new(name);
    let low = sizes.log_bus_bytes;
    let start = m.input("start", 1);
    let log_elem = m.input("log_elem", 4);
    let sram_base = m.input("sram_base", 16);
    let dram_address = m.input("dram_address", 32);
    let y_size = m.input("y_size", 16);
    let x_size = m.input("x_size", 16);
    let x_stride = m.input("x_stride", 16);
    let [y_pad_0, y_pad_1, x_pad_0, x_pad_1] =
        ["y_pad_0", "y_pad_1", "x_pad_0", "x_pad_1"].map(|name| m.input(name, 4));
    let depth = m.input("depth", 17);
    let request_ready = m.input("request_ready", 1);
    let data_valid = m.input("data_valid", 1);

    let row_bytes = x_size.zext(32).shl(log_elem).named("row_bytes");
    let stride_bytes = x_stride.zext(32).shl(log_elem).named("stride_bytes");

    let bursts = m.instance(
        "walk",
        &rows(&format!("{name}_walk"), sizes),
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
    let column = m.reg("column", 18, 0);
    let chunk = m.reg("chunk", 7, 0);
    let sub = m.reg("sub", 4, 0);
    // Where the next row begins within a bus word.
    let place = m.reg("place", low, 0);
    let row_length = (x_size.zext(18) + x_pad_0.zext(18) + x_pad_1.zext(18)).named("row_length");

    // Chunks of an element and elements of a word, less one; at least one of the two is 0.
    let (one, zero, bus) = (m.lit(1, 8), m.lit(0, 8), m.lit(low.into(), 4));
    let larger = bus.lt(log_elem);
    let last_chunk = larger.mux(one.shl(log_elem - bus) - one, zero).bits(0, 7).named("last_chunk");
    let last_sub = larger.mux(zero, one.shl(bus - log_elem) - one).bits(0, 4).named("last_sub");
    let first_sub = place.zext(8).shr(log_elem).named("first_sub").bits(0, 4);

    let enter_row = || {
        let padded = x_pad_0.any();
        column.set(padded.mux(x_pad_0.zext(18), x_size.zext(18)));
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
    let fits = index.lt(depth).named("fits");
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
                column.set(x_size.zext(18));
                phase.go("data");
            });
            m.when(in_data, || {
                m.when_else(
                    x_pad_1.any(),
                    || {
                        column.set(x_pad_1.zext(18));
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
    m
}
