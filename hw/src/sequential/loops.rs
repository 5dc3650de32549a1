//! Walks the two loops over micro-ops of GEMM, ALU, REQUANT and LANE, a micro-op a cycle where the arithmetic takes one.
//!
//! ```text
//!  P0 counters, offsets --> UOP scratchpad
//!  P1 micro-op + offsets --> indices
//!  P2 indices --> in range?
//!  P3 the same --> taken? --> next
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `start` | 1 | begin with the fields at the inputs, which stay until `busy` falls |
//! | `uop_begin`, `uop_end`, `iter_out`, `iter_in`, `dst_out` ... `wgt_in` | | as in the instruction |
//! | `is_gemm`, `is_lane`, `is_requant`, `reads_src`, `reads_wgt` | 1 | what the indices must be in range of |
//! | `uop_read`, `uop_index`, `uop_word` | 1, index, 32 | the UOP scratchpad, which answers a cycle later |
//! | `taken` | 1 | the micro-op at hand is done with |
//! | `there`, `dst`, `src`, `wgt` | | a micro-op is at hand, and its indices |
//! | `busy` | 1 | at work |
//! | `out_of_range`, `undecodable` | 1 | an index beyond its scratchpad; a micro-op with reserved bits: the block stands still |

use tandem_rtl::{Module, Net};

use crate::size::Sizes;

/// The block.
pub(crate) fn loops(sizes: &Sizes) -> Module {
    let m = Module::new("loops");
    let config = &sizes.config;
    let (log_uop, log_acc) = (config.log_uop_depth(), config.log_acc_depth());
    let (log_inp, log_wgt) = (config.log_inp_depth(), config.log_wgt_depth());
    let log_in = config.block_in().trailing_zeros();
    let start = m.input("start", 1);
    let uop_begin = m.input("uop_begin", log_uop);
    let uop_end = m.input("uop_end", log_uop + 1);
    let (iter_out, iter_in) = (m.input("iter_out", 14), m.input("iter_in", 14));
    let source = log_acc.max(log_inp);
    let names = ["dst", "src", "wgt"];
    let widths = [log_acc, source, log_wgt];
    let factors = [0, 1, 2].map(|k| ["out", "in"].map(|level| m.input(format!("{}_{level}", names[k]), widths[k])));
    let [is_gemm, is_lane, is_requant] = ["is_gemm", "is_lane", "is_requant"].map(|name| m.input(name, 1));
    let (reads_src, reads_wgt) = (m.input("reads_src", 1), m.input("reads_wgt", 1));
    let uop_word = m.input("uop_word", 32);
    let taken = m.input("taken", 1);

    // P0. An offset that is used is below the depth, and one factor more fits in one bit more.
    let active = m.reg("active", 1, 0);
    let at = m.data_reg("at", log_uop + 1);
    let (outer, inner) = (m.data_reg("outer", 14), m.data_reg("inner", 14));
    let offset_bits = [sizes.dst - 1, sizes.src - 1, sizes.wgt - 1];
    let offsets = [0, 1, 2].map(|k| {
        let name = names[k];
        (m.data_reg(format!("{name}_outer"), offset_bits[k]), m.data_reg(format!("{name}_offset"), offset_bits[k]))
    });
    let there = m.reg("is_there", 1, 0);
    let advance = (!there | taken).named("advance");
    let valid_2 = m.reg("valid_2", 1, 0);
    let nothing = !iter_out.any() | !iter_in.any() | uop_end.le(uop_begin.zext(log_uop + 1));
    let issue = (active & advance).named("issue");
    let next_at = at.inc().named("next_at");
    let uops_end = next_at.eq(uop_end).named("uops_end");
    let inner_end = inner.is(1).named("inner_end");
    m.when(issue, || at.set(next_at));
    m.when(start | (issue & uops_end), || at.set(uop_begin.zext(log_uop + 1)));
    m.when(issue & uops_end, || inner.set(inner.dec()));
    m.when(start | (issue & uops_end & inner_end), || inner.set(iter_in));
    m.when(issue & uops_end & inner_end, || {
        outer.set(outer.dec());
        m.when(outer.is(1), || active.set_to(0));
    });
    m.when(start, || {
        outer.set(iter_out);
        active.set(!nothing);
    });
    for ((first, now), [step_out, step_in]) in offsets.into_iter().zip(factors) {
        let width = now.width();
        let moved = inner_end.mux(first, now) + inner_end.mux(step_out, step_in).zext(width);
        m.when(issue & uops_end, || {
            now.set(moved);
            m.when(inner_end, || first.set(moved));
        });
        m.when(start, || {
            first.set_to(0);
            now.set_to(0);
        });
    }

    // P1: the micro-op is there, and its offsets have moved on meanwhile.
    let valid_1 = m.reg("valid_1", 1, 0);
    m.when(advance, || valid_1.set(active));
    let late = [0, 1, 2].map(|k| {
        let late = m.data_reg(format!("{}_1", names[k]), offset_bits[k]);
        m.when(issue, || late.set(offsets[k].1));
        late
    });

    // P2: indices.
    let src_bits = config.log_src_depth();
    let used = log_acc + src_bits + log_wgt;
    let parts =
        [uop_word.bits(0, log_acc), uop_word.bits(log_acc, src_bits), uop_word.bits(log_acc + src_bits, log_wgt)];
    let strange = m.data_reg("strange", 1);
    let indices = [0, 1, 2].map(|k| {
        let index = m.data_reg(format!("{}_2", names[k]), offset_bits[k] + 1);
        m.when(advance & valid_1, || index.set(parts[k].zext(index.width()) + late[k].zext(index.width())));
        index
    });
    m.when(advance, || {
        valid_2.set(valid_1);
        there.set(valid_2);
        strange.set(if used < 32 { uop_word.bits(used, 32 - used).any() } else { m.lit(0, 1) });
    });
    let [dst, src, wgt] = indices;
    // The last of four parameter vectors of REQUANT.
    // REQUANT reads three vectors behind the first.
    let too_late = src.bits(2, log_acc - 2).all() & src.bits(0, 2).any();
    let src_in_acc = fits(src, log_acc) & !(is_requant & too_late);
    let src_fits = (is_gemm | is_lane).mux(fits(src, log_inp), src_in_acc);
    let wgt_fits = is_lane.mux(fits(wgt, log_wgt + log_in), fits(wgt, log_wgt));
    let in_range = (fits(dst, log_acc) & (src_fits | !reads_src) & (wgt_fits | !reads_wgt)).named("in_range");

    // P3.
    let [sound, beyond, unknown] = ["is_sound", "is_beyond", "is_unknown"].map(|name| m.data_reg(name, 1));
    let held = [0, 1, 2].map(|k| m.data_reg(format!("{}_3", names[k]), indices[k].width()));
    m.when(advance, || {
        sound.set(in_range & !strange);
        beyond.set(!in_range & !strange);
        unknown.set(strange);
        held.iter().zip(indices).for_each(|(held, index)| held.set(index));
    });
    let [dst, src, wgt] = held;

    m.output("uop_read", issue);
    m.output("uop_index", at.bits(0, log_uop));
    m.output("there", there & sound);
    m.output("dst", dst.bits(0, log_acc));
    m.output("src", src.bits(0, sizes.src - 2));
    m.output("wgt", wgt.bits(0, sizes.wgt - 2));
    m.output("busy", active | valid_1 | valid_2 | there);
    m.output("out_of_range", there & beyond);
    m.output("undecodable", there & unknown);
    m
}

/// Whether an index is below a power of two.
fn fits<'m>(index: Net<'m>, log: u32) -> Net<'m> {
    !index.bits(log, index.width() - log).any()
}
