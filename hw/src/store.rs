//! The store unit: STORE of OUT and OUTINP.
//!
//! ```text
//!  queue --> issue --> rows --> request_*
//!                  \-> read_index --> OUT scratchpad --> [ permute ] --> bus words --> data_*
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `head_*`, `available_prev`, `full_prev`, `halt` | | as in `issue.rs`; the unit has no neighbour behind it |
//! | `out_base` | 32 | base address |
//! | `read`, `read_index`, `element` | 1, index, lanes * 8 | the OUT scratchpad, which answers a cycle later and holds the word |
//! | `request_*`, `data_valid`, `data_ready`, `data`, `strobe` | | the write engine |
//! | `written` | 1 | the write engine has nothing under way |
//! | `out_element` | 1 | an element went out: for the counters |
//! | `overflow`, `out_of_reach` | 1 | an element beyond the scratchpad; an address beyond DRAM |
//! | `begins`, `finishes`, `index`, `pop_prev`, `push_prev`, `state`, `blocked`, `idle` | | as in `issue.rs` |
//!
//! An instruction finishes when every burst has its response, so that a token says that DRAM holds the bytes. Latency four
//! cycles and the memory's; a bus word a cycle, or an element where it is smaller. OUTINP with several batch rows and more
//! input than output lanes gathers the elements of a group first, which halves the rate.

use tandem_isa::{MemoryType, semantics};
use tandem_rtl::{Module, Net};

use crate::issue;
use crate::rows::{FirstByte, REACH_BITS, first_byte, rows};
use crate::size::Sizes;

/// The block.
pub fn store(sizes: &Sizes) -> Module {
    let m = Module::new("store");
    let unit = issue::place(&m, sizes, &["prev"]);
    let out_base = m.input("out_base", 32);
    let bits = sizes.lanes * 8;
    let element = m.input("element", bits);
    let request_ready = m.input("request_ready", 1);
    let data_ready = m.input("data_ready", 1);
    let written = m.input("written", 1);

    let (yes, no) = (m.lit(1, 1), m.lit(0, 1));
    let insn = unit.get("insn");
    let field = |name: &str| sizes.field(insn, "Store", name);
    let (x_size, y_size) = (field("x_size"), field("y_size"));
    let nothing = (!x_size.any() | !y_size.any()).named("nothing");
    let out = sizes.element(MemoryType::Out);
    let log_elem = out.log_bytes;
    let bytes = |name: &str| m.cat(&[m.lit(0, log_elem), field(name)]);
    let wanted = unit.get("start") & !nothing;
    let offset = bytes("dram_base").zext(REACH_BITS);
    let FirstByte { address, start, out_of_reach } = first_byte(&m, sizes, wanted, out_base, offset);
    let walk = m.instance(
        "walk",
        &rows("store_walk", sizes, sizes.row_bytes(out)),
        &[
            ("start", start),
            ("address", address),
            ("rows", y_size),
            ("row_bytes", bytes("x_size")),
            ("stride_bytes", bytes("x_stride")),
            ("burst_ready", request_ready),
        ],
    );

    // Elements, in scratchpad order.
    let low = sizes.log_bus_bytes;
    let busy = m.reg("busy", 1, 0);
    let index = m.reg("read_at", 17, 0);
    let row = m.reg("row", 16, 0);
    let column = m.reg("column", 16, 0);
    let place = m.reg("place", low, 0);
    let fits = index.lt(m.lit(sizes.config.acc_depth() as u128, 17)).named("fits");
    let stuck = m.reg("stuck", 1, 0);
    let have = m.reg("have", 1, 0);
    let read = m.var("read_next", no);
    let take = m.var("take", no);
    let Pieces { valid: piece_valid, piece, gather } = pieces(&m, sizes, insn, element, have, take);
    let last_column = column.is(1).named("last_column");
    let last = (last_column & row.is(1)).named("last_element");

    // Pieces become bus words.
    let words = if out.log_subs == 0 {
        let chunk = (out.log_chunks > 0).then(|| m.reg("chunk", out.log_chunks, 0));
        let send = (piece_valid & busy & data_ready).named("send");
        let (data, whole) = match chunk {
            Some(chunk) => {
                m.when(send, || chunk.set(chunk.inc()));
                (piece.pick(chunk, sizes.bus), chunk.all())
            }
            None => (piece, yes),
        };
        take.set(send & whole);
        Words { valid: piece_valid & busy, data, strobe: m.lit(1, 1).repeat(sizes.bus / 8) }
    } else {
        let subs = 1 << out.log_subs;
        let sub = m.reg("sub", out.log_subs, 0);
        let gathered = m.data_reg("gathered", sizes.bus);
        let filled = m.reg("filled", subs, 0);
        let here: Vec<Net<'_>> = (0..subs).map(|lane| sub.is(lane.into())).collect();
        let here = m.cat(&here).named("here");
        let lanes: Vec<Net<'_>> = gathered
            .lanes(subs)
            .into_iter()
            .enumerate()
            .map(|(lane, old)| here.bit(lane as u32).mux(piece, old))
            .collect();
        let data = m.cat(&lanes).named("word_now");
        let full = (filled | here).named("filled_now");
        let ends = (sub.all() | last_column).named("word_ends");
        let valid = (piece_valid & busy & ends).named("word_valid");
        take.set(piece_valid & busy & (!ends | data_ready));
        m.when(take, || {
            gathered.set(data);
            filled.set(ends.mux(m.lit(0, subs), full));
            sub.set(sub.inc());
            // Where the next row begins within a word.
            m.when(last_column, || sub.set(place.bits(log_elem, out.log_subs)));
        });
        m.when(start, || {
            sub.set(address.bits(log_elem, out.log_subs));
            filled.set_to(0);
        });
        let strobes: Vec<Net<'_>> = full.lanes(subs).into_iter().map(|lane| lane.repeat(sizes.lanes)).collect();
        Words { valid, data, strobe: m.cat(&strobes) }
    };

    let stride = bytes("x_stride");
    m.when(start, || {
        busy.set_to(1);
        index.set(field("sram_base").zext(17));
        row.set(y_size);
        column.set(x_size);
        place.set(address.bits(0, low) + stride.bits(0, low));
    });
    m.when(take, || {
        column.set(column.dec());
        m.when(last_column, || {
            column.set(x_size);
            row.set(row.dec());
            place.set(place + stride.bits(0, low));
        });
        m.when(last, || busy.set_to(0));
    });
    // The first element is read after the start, and the others as the ones before them leave.
    let begun = m.reg("begun", 1, 0);
    m.when(start, || begun.set_to(1));
    let follow = begun | (take & !last);
    let wish = match gather {
        Some([permuted, wish, _]) => permuted.mux(wish & busy, follow),
        None => follow,
    };
    read.set(wish & fits);
    m.when(begun, || begun.set_to(0));
    m.when(wish & !fits, || stuck.set_to(1));
    m.when(gather.map_or(take, |[_, _, captured]| take | captured), || have.set_to(0));
    m.when(read, || {
        have.set_to(1);
        index.set(index.inc());
    });
    m.when(start, || have.set_to(0));

    let out_of_reach = out_of_reach | walk.get("beyond");
    let quiet = !busy & !walk.get("more") & written & !start;
    unit.done.set((nothing | (quiet & !unit.get("start"))) & !out_of_reach & !stuck);
    m.when((busy & !data_ready) | (!busy & !start), || unit.detail.set_to(5));

    m.output("read", read);
    m.output("read_index", index.bits(0, sizes.config.log_acc_depth()));
    m.output("request_valid", walk.get("burst_valid"));
    m.output("request_address", walk.get("burst_address"));
    m.output("request_beats", walk.get("burst_beats"));
    m.output("data_valid", words.valid);
    m.output("data", words.data);
    m.output("strobe", words.strobe);
    m.output("out_element", take);
    m.output("overflow", stuck);
    m.output("out_of_reach", out_of_reach);
    unit.pass_on(&m);
    m
}

struct Words<'m> {
    valid: Net<'m>,
    data: Net<'m>,
    strobe: Net<'m>,
}

struct Pieces<'m> {
    valid: Net<'m>,
    /// As wide as an element.
    piece: Net<'m>,
    /// Where elements are gathered first: whether they are now, when to read, and when the element read has been taken over.
    gather: Option<[Net<'m>; 3]>,
}

/// Elements in the byte order of the memory type.
fn pieces<'m>(
    m: &'m Module,
    sizes: &Sizes,
    insn: Net<'m>,
    element: Net<'m>,
    have: Net<'m>,
    take: Net<'m>,
) -> Pieces<'m> {
    let order = semantics::out_inp_order(&sizes.config);
    if !sizes.config.profile().has_extension() || order.is_sorted() {
        return Pieces { valid: have, piece: element, gather: None };
    }
    let permuted = sizes.field(insn, "Store", "memory_type").is(MemoryType::OutInp.code().into()).named("permuted");
    let group = semantics::out_inp_group(&sizes.config) as u32;
    let reorder = |all: Net<'m>| {
        let bytes = all.lanes(order.len() as u32);
        m.cat(&order.iter().map(|&from| bytes[from]).collect::<Vec<_>>()).named("reordered")
    };
    if group == 1 {
        return Pieces { valid: have, piece: permuted.mux(reorder(element), element), gather: None };
    }
    let (log, bits) = (group.trailing_zeros(), element.width());
    let gathered = m.data_reg("group", group * bits);
    let count = m.reg("group_count", log, 0);
    let emitting = m.reg("emitting", 1, 0);
    let captured = (permuted & have & !emitting).named("captured");
    m.when(captured, || {
        gathered.set(m.cat(&[gathered.bits(bits, (group - 1) * bits), element]));
        count.set(count.inc());
        m.when(count.all(), || emitting.set_to(1));
    });
    m.when(take & emitting, || {
        count.set(count.inc());
        m.when(count.all(), || emitting.set_to(0));
    });
    let piece = permuted.mux(reorder(gathered).pick(count, bits), element);
    let wish = !emitting & !have;
    Pieces { valid: permuted.mux(emitting, have), piece, gather: Some([permuted, wish, captured]) }
}
