//! The load unit: LOAD and LOADPAD of INP and WGT.
//!
//! ```text
//!  queue --> issue --> fields --> loader --> inp scratchpad, wgt scratchpad
//!                                   ^--- read engine
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `head_*`, `available_next`, `full_next`, `halt` | | as in `issue.rs`; the unit has no neighbour before it |
//! | `inp_base`, `wgt_base` | 32 | base addresses |
//! | `request_*`, `data_valid`, `data_ready` | | a client of the read engine |
//! | `write_inp`, `write_wgt` | 1 | the write at hand goes there |
//! | `write_pad`, `write_index`, `write_chunk`, `write_sub` | | as in `loader.rs` |
//! | `pad_value` | 8 | the padding of every lane |
//! | `write_four_bits` | 1 | the write at hand is of weights of 4 bits |
//! | `inp_element`, `wgt_element`, `wgt4_element` | 1 | an element came from DRAM: for the counters |
//! | `overflow`, `out_of_reach` | 1 | an element beyond the scratchpad; an address beyond DRAM |
//! | `begins`, `finishes`, `index`, `pop_next`, `push_next`, `state`, `blocked`, `idle` | | as in `issue.rs` |

use tandem_isa::MemoryType;
use tandem_rtl::{Module, Net, Outputs};

use crate::issue;
use crate::loader::loader;
use crate::rows::{FirstByte, REACH_BITS, first_byte};
use crate::size::Sizes;

/// The block.
pub fn load(sizes: &Sizes) -> Module {
    let m = Module::new("load");
    let unit = issue::place(&m, sizes, &["next"]);
    let inp_base = m.input("inp_base", 32);
    let wgt_base = m.input("wgt_base", 32);
    let request_ready = m.input("request_ready", 1);
    let data_valid = m.input("data_valid", 1);

    let insn = unit.get("insn");
    let (start, nothing) = (unit.get("start"), !sizes.field(insn, "Load", "x_size").any());
    let of = |wanted: MemoryType| sizes.field(insn, "Load", "memory_type").is(wanted.code().into());
    let is_inp = of(MemoryType::Inp).named("is_inp");
    let packed = sizes.config.has_packed_weights();
    let is_wgt4 = if packed { of(MemoryType::Wgt4).named("is_wgt4") } else { m.lit(0, 1) };
    let transfer = Transfer {
        types: if packed {
            &[MemoryType::Wgt, MemoryType::Inp, MemoryType::Wgt4]
        } else {
            &[MemoryType::Wgt, MemoryType::Inp]
        },
        kind: if packed { m.cat(&[is_inp, is_wgt4]) } else { is_inp },
        base: is_inp.mux(inp_base, wgt_base),
        start: start & !nothing,
        request_ready,
        data_valid,
    };
    let Placed { loader: moved, pad_value, out_of_reach } = transfer.place(&m, "load_rows", sizes, insn);
    let failed = moved.get("overflow") | out_of_reach;
    unit.done.set((!start & !moved.get("busy") & !failed) | nothing);
    m.when(moved.get("waiting"), || unit.detail.set_to(4));

    for port in ["request_valid", "request_address", "request_beats", "data_ready"] {
        m.output(port, moved.get(port));
    }
    m.output("write_inp", moved.get("write") & is_inp);
    m.output("write_wgt", moved.get("write") & !is_inp);
    for port in ["write_pad", "write_index", "write_chunk", "write_sub"] {
        m.output(port, moved.get(port));
    }
    m.output("pad_value", pad_value);
    m.output("inp_element", moved.get("element") & is_inp);
    m.output("write_four_bits", is_wgt4);
    m.output("wgt_element", moved.get("element") & !is_inp & !is_wgt4);
    m.output("wgt4_element", moved.get("element") & is_wgt4);
    m.output("overflow", moved.get("overflow"));
    m.output("out_of_reach", out_of_reach);
    unit.pass_on(&m);
    m
}

/// What a unit adds to an instruction to have its rows moved.
pub(crate) struct Transfer<'m> {
    /// What may be moved, and the number of what is.
    pub types: &'static [MemoryType],
    pub kind: Net<'m>,
    pub base: Net<'m>,
    pub start: Net<'m>,
    pub request_ready: Net<'m>,
    pub data_valid: Net<'m>,
}

/// A loader at work on an instruction.
pub(crate) struct Placed<'m> {
    pub loader: Outputs<'m>,
    pub pad_value: Net<'m>,
    /// The first byte is beyond DRAM and nothing is started, or a later one is; this stays set until the next reset.
    pub out_of_reach: Net<'m>,
}

impl<'m> Transfer<'m> {
    /// A loader for LOAD and LOADPAD, whose fields differ in `dram_base` and `pad_value` alone.
    pub fn place(&self, m: &'m Module, name: &str, sizes: &Sizes, insn: Net<'m>) -> Placed<'m> {
        let padded = insn.bits(0, 3).is(7).named("padded");
        let field = |field: &str| sizes.field(insn, "Load", field);
        let dram_base = padded.mux(sizes.field(insn, "LoadPad", "dram_base").zext(32), field("dram_base"));
        let pad_value = padded.mux(sizes.field(insn, "LoadPad", "pad_value"), m.lit(0, 8)).named("pad_byte");
        let offsets: Vec<Net<'m>> = self
            .types
            .iter()
            .map(|&memory_type| match sizes.element(memory_type).log_bytes {
                0 => dram_base.zext(REACH_BITS),
                log => m.cat(&[m.lit(0, log), dram_base]).zext(REACH_BITS),
            })
            .collect();
        let offset = m.choose(self.kind, &offsets);
        let FirstByte { address, start, out_of_reach } = first_byte(m, sizes, self.start, self.base, offset);
        let loader = m.instance(
            "rows",
            &loader(name, sizes, self.types),
            &[
                ("start", start),
                ("kind", self.kind),
                ("sram_base", field("sram_base")),
                ("dram_address", address),
                ("y_size", field("y_size")),
                ("x_size", field("x_size")),
                ("x_stride", field("x_stride")),
                ("y_pad_0", field("y_pad_0")),
                ("y_pad_1", field("y_pad_1")),
                ("x_pad_0", field("x_pad_0")),
                ("x_pad_1", field("x_pad_1")),
                ("request_ready", self.request_ready),
                ("data_valid", self.data_valid),
            ],
        );
        let out_of_reach = out_of_reach | loader.get("beyond");
        Placed { loader, pad_value, out_of_reach }
    }
}
