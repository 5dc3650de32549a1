//! The direct port: the core's AXI4 master and the bridge on one RAM inside the FPGA, for a machine that asks for single words.
//!
//! ```text
//!  AR of the core -----+
//!  AW and W of the core+--> address, data --> RAM --> rdata --> R, bridge
//!  bridge -------------+                       a cycle later --> B
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `axi_*` | | the core's channels, as the slave sees them; bursts have one word |
//! | `bridge_access`, `bridge_write`, `bridge_address`, `bridge_wdata` | 1, 1, word address, 32 | the bridge wants a 32-bit word, until `bridge_done` |
//! | `bridge_done`, `bridge_rdata` | 1, bus | it has it, within this bus word |
//!
//! An access reaches the RAM in the cycle of its request, and is answered in the next one; nothing else begins until the answer
//! is taken. The bridge goes first: it asks seldom. What lies beyond the memory is answered with an error and does nothing.

use tandem_rtl::{MemoryStyle, Module, Net};

use super::port::{Bridge, Core, is_outside};
use super::ram::{RamKind, spram_cells};
use crate::size::Sizes;

/// The block for a memory of so many bytes, as a power of two.
pub(crate) fn direct(sizes: &Sizes, log_bytes: u32, kind: RamKind) -> Module {
    let m = Module::new("direct_port");
    let (bus, low) = (sizes.bus, sizes.log_bus_bytes);
    let words = log_bytes - low;
    let core = Core::new(&m, bus);
    let bridge = Bridge::new(&m, log_bytes);
    let (no, yes) = (m.lit(0, 1), m.lit(1, 1));

    // At most one of the three answers is under way.
    let [rvalid, bvalid, finished] = ["reads_back", "answers", "bridge_finished"].map(|name| m.reg(name, 1, 0));
    let free = (!rvalid & !bvalid & !finished).named("is_free");
    let bridge_now = (free & bridge.access).named("bridge_now");
    let read_now = (free & !bridge.access & core.arvalid).named("read_now");
    let both = core.awvalid & core.wvalid;
    let write_now = (free & !bridge.access & !core.arvalid & both).named("write_now");
    finished.set(bridge_now);
    m.when(core.rready, || rvalid.set_to(0));
    m.when(core.bready, || bvalid.set_to(0));
    m.when(read_now, || rvalid.set_to(1));
    m.when(write_now, || bvalid.set_to(1));

    let core_address = core.arvalid.mux(core.araddr, core.awaddr).named("core_address");
    let outside = is_outside(&m, core_address, log_bytes).named("is_outside");
    let error = m.data_reg("is_error", 1);
    m.when(free, || error.set(outside));
    let address = bridge.access.mux(bridge.address.bits(low - 2, words), core_address.bits(low, words));
    let inside = (write_now & !outside).named("is_inside");
    let writes = ((bridge_now & bridge.write) | inside).named("writes");
    let reads = ((bridge_now & !bridge.write) | read_now).named("reads");
    let data = bridge.access.mux(bridge.wdata.repeat(bus / 32), core.wdata);
    let strobe = bridge.access.mux(bridge.strobe(&m, low), core.wstrb);
    let rdata = match kind {
        RamKind::Spram => spram_cells(&m, writes, writes | reads, address, data, strobe),
        RamKind::Block => {
            let store = m.memory("store", words, bus, MemoryStyle::Block);
            store.write(writes.repeat(bus / 8) & strobe, address, data);
            store.read("q", reads, address)
        }
    };
    let response: Net<'_> = m.cat(&[no, error]);
    m.output("axi_arready", read_now);
    m.output("axi_rvalid", rvalid);
    m.output("axi_rdata", rdata);
    m.output("axi_rresp", response);
    m.output("axi_rlast", yes);
    m.output("axi_awready", write_now);
    m.output("axi_wready", write_now);
    m.output("axi_bvalid", bvalid);
    m.output("axi_bresp", response);
    m.output("bridge_done", finished);
    m.output("bridge_rdata", rdata);
    m
}
