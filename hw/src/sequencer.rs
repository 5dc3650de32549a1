//! Walks the two loops over micro-ops of GEMM, ALU, REQUANT and LANE, and keeps the accumulators' hazards away.
//!
//! ```text
//!  P0 counters, offsets --> UOP scratchpad
//!  P1 micro-op + offsets --> indices
//!  P2 indices --> in range? met in flight? the parameters' own?
//!  P3 --> operands in flight? parameters there? --> fire
//!                 ^--- [ dst of ALU and REQUANT in flight ] x depth of their pipeline
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `start` | 1 | begin with the fields at the inputs, which stay until `busy` falls |
//! | `uop_begin`, `uop_end`, `iter_out`, `iter_in` | | as in the instruction |
//! | `dst_out`, `dst_in`, `src_out`, `src_in`, `wgt_out`, `wgt_in` | | the factors |
//! | `is_gemm`, `reads_src`, `reads_wgt`, `by_vector`, `is_requant`, `slow` | 1 | GEMM without reset; the source, the weight counts; the source is an input vector; REQUANT; the tensor ALU works |
//! | `is_lane`, `more_taps`, `param` | 1, 2, index | LANE, and its vectors beside the first; the parameters of REQUANT where its source is an input vector |
//! | `uop_read`, `uop_index`, `uop_word` | 1, index, 32 | the UOP scratchpad, which answers a cycle later |
//! | `fire` | 1 | a micro-op goes to the pipelines: the indices below are its own |
//! | `dst`, `src`, `wgt` | | its indices |
//! | `param_read`, `param_index` | 1, index | a parameter vector is read through the source port of ACC |
//! | `param_capture`, `param_which` | 1, 2 | a cycle later: which of the four it is |
//! | `clears` | 1 | the result goes to OUT alone |
//! | `fused`, `first`, `last` | 1 | REQUANT is fused with GEMM or LANE; the micro-op that fires is the first, or the last, of a sum |
//! | `sum`, `sum_dst` | 1, index | a sum of the GEMM array enters the tensor ALU |
//! | `late_dst`, `late_clear`, `late_fused` | index, 1 | the accumulator of what leaves the tensor ALU in this cycle, its `clears`, and whether it came as a sum |
//! | `busy`, `walking`, `hazard` | 1 | at work, pipelines included; micro-ops have yet to fire; held by a hazard |
//! | `out_of_range`, `undecodable` | 1 | an index beyond its scratchpad; a micro-op with reserved bits: the block stands still |
//!
//! A micro-op a cycle. The pipeline of GEMM and LANE forwards by itself; micro-ops of the tensor ALU wait until what they read
//! has been written, and one follows another when the tensor ALU has had its turns. The parameters of REQUANT are read when they
//! change, which takes five cycles, or four times the turns and one. What is in flight may be among them: parameters that
//! begin at a multiple of four wait for results with the same upper bits of their index, others for an empty pipeline. Those of
//! a fused REQUANT are read before the first sum ends, when the pipeline of GEMM and LANE is empty: it holds the sums of the
//! instruction before.

use tandem_rtl::{Module, Net};

use crate::alu::ALU_LATENCY;
use crate::gemm;
use crate::operand;
use crate::size::Sizes;

/// The block.
pub fn sequencer(sizes: &Sizes) -> Module {
    let m = Module::new("sequencer");
    describe(&m, sizes);
    m
}

fn describe<'m>(m: &'m Module, sizes: &Sizes) {
    let config = &sizes.config;
    let (log_uop, log_acc) = (config.log_uop_depth(), config.log_acc_depth());
    let (log_inp, log_wgt) = (config.log_inp_depth(), config.log_wgt_depth());
    let start = m.input("start", 1);
    let uop_begin = m.input("uop_begin", log_uop);
    let uop_end = m.input("uop_end", log_uop + 1);
    let iter_out = m.input("iter_out", 14);
    let iter_in = m.input("iter_in", 14);
    let source = log_acc.max(log_inp);
    let [dst_out, dst_in] = ["dst_out", "dst_in"].map(|name| m.input(name, log_acc));
    let [src_out, src_in] = ["src_out", "src_in"].map(|name| m.input(name, source));
    let [wgt_out, wgt_in] = ["wgt_out", "wgt_in"].map(|name| m.input(name, log_wgt));
    let is_gemm = m.input("is_gemm", 1);
    let reads_src = m.input("reads_src", 1);
    let reads_wgt = m.input("reads_wgt", 1);
    let is_lane = m.input("is_lane", 1);
    let by_vector = m.input("by_vector", 1);
    let param = m.input("param", log_acc);
    let more_taps = m.input("more_taps", 2);
    let clears = m.input("clears", 1);
    let fused = m.input("fused", 1);
    let (sum, sum_dst) = (m.input("sum", 1), m.input("sum_dst", log_acc));
    let is_requant = m.input("is_requant", 1);
    let slow = m.input("slow", 1);
    let uop_word = m.input("uop_word", 32);

    // P0: where the loops are.
    let advance = m.var("advance", m.lit(0, 1));
    let active = m.reg("active", 1, 0);
    let at = m.reg("at", log_uop + 1, 0);
    let (outer, inner) = (m.reg("outer", 14, 0), m.reg("inner", 14, 0));
    let offset =
        |name: &str, width: u32| (m.reg(format!("{name}_outer"), width, 0), m.reg(format!("{name}_offset"), width, 0));
    // An offset that is used is below the depth, and one factor more fits in one bit more.
    let widths = [sizes.dst - 1, sizes.src - 1, sizes.wgt - 1];
    let offsets = [offset("dst", widths[0]), offset("src", widths[1]), offset("wgt", widths[2])];
    let factors = [(dst_out, dst_in), (src_out, src_in), (wgt_out, wgt_in)];
    let fuses = config.has_fused_requant();
    // The next micro-op begins a turn.
    let begins = fuses.then(|| m.reg("begins", 1, 0));
    let nothing = !iter_out.any() | !iter_in.any() | uop_end.le(uop_begin.zext(log_uop + 1));
    m.when(start & !nothing, || {
        active.set_to(1);
        if let Some(begins) = begins {
            begins.set_to(1);
        }
        at.set(uop_begin.zext(log_uop + 1));
        outer.set(iter_out);
        inner.set(iter_in);
        for (first, now) in offsets {
            first.set_to(0);
            now.set_to(0);
        }
    });
    let issue = (active & advance).named("issue");
    let next_at = at.inc().named("next_at");
    let uops_end = next_at.eq(uop_end).named("uops_end");
    let inner_end = inner.is(1).named("inner_end");
    m.when(issue, || {
        if let Some(begins) = begins {
            begins.set(uops_end);
        }
        m.when_else(
            !uops_end,
            || at.set(next_at),
            || {
                at.set(uop_begin.zext(log_uop + 1));
                m.when_else(
                    !inner_end,
                    || {
                        inner.set(inner.dec());
                        for ((_, now), (_, step)) in offsets.into_iter().zip(factors) {
                            now.set(now + step.zext(now.width()));
                        }
                    },
                    || {
                        inner.set(iter_in);
                        outer.set(outer.dec());
                        for ((first, now), (step, _)) in offsets.into_iter().zip(factors) {
                            let moved = first + step.zext(now.width());
                            first.set(moved);
                            now.set(moved);
                        }
                        m.when(outer.is(1), || active.set_to(0));
                    },
                );
            },
        );
    });

    // P1: the micro-op is there.
    let valid_1 = m.reg("valid_1", 1, 0);
    let offsets_1 = ["dst_1", "src_1", "wgt_1"].into_iter().zip(offsets).map(|(name, (_, now))| {
        let late = m.data_reg(name, now.width());
        m.when(issue, || late.set(now));
        late
    });
    let offsets_1: Vec<_> = offsets_1.collect();
    // Which micro-op is the first and which is the last of a turn goes along.
    let mark = |name: &str, enable: Net<'m>, value: Net<'m>| {
        let held = m.data_reg(name, 2);
        m.when(enable, || held.set(value));
        held
    };
    let marks_1 = begins.map(|begins| mark("marks_1", issue, m.cat(&[begins, uops_end])));
    m.when(advance, || valid_1.set(active));

    // P2: indices.
    let src_bits = config.log_src_depth();
    let used = log_acc + src_bits + log_wgt;
    let parts =
        [uop_word.bits(0, log_acc), uop_word.bits(log_acc, src_bits), uop_word.bits(log_acc + src_bits, log_wgt)];
    let valid_2 = m.reg("valid_2", 1, 0);
    let strange = m.reg("strange", 1, 0);
    let indices: Vec<_> = ["dst_2", "src_2", "wgt_2"]
        .into_iter()
        .zip(parts.into_iter().zip(offsets_1))
        .map(|(name, (part, offset))| {
            let index = m.data_reg(name, offset.width() + 1);
            m.when(advance & valid_1, || index.set(part.zext(index.width()) + offset.zext(index.width())));
            index
        })
        .collect();
    m.when(advance, || {
        valid_2.set(valid_1);
        strange.set(if used < 32 { uop_word.bits(used, 32 - used).any() } else { m.lit(0, 1) });
    });
    let (dst, src, wgt) = (indices[0], indices[1], indices[2]);

    let dst_fits = dst.below(1 << log_acc);
    let log_vectors = log_inp + config.block_in().trailing_zeros() - config.block_out().trailing_zeros();
    let src_last = is_requant.mux(src + m.lit(3, src.width()), src);
    let src_end = if config.lane_taps() > 1 { src + more_taps.zext(src.width()) } else { src };
    let src_fits = by_vector
        .mux(src_end.below(1 << log_vectors), is_gemm.mux(src.below(1 << log_inp), src_last.below(1 << log_acc)));
    let wgt_fits = is_lane.mux(wgt.below((config.wgt_vectors()) as u128), wgt.below(1 << log_wgt));
    // REQUANT of input vectors has its parameters in one place.
    let one_place = (is_requant & by_vector).named("one_place");
    let marks_2 = marks_1.map(|marks| mark("marks_2", advance & valid_1, marks));
    let param_fits = !(param.bits(2, log_acc - 2).all() & param.bits(0, 2).any());
    let in_range = dst_fits & (src_fits | !reads_src) & (wgt_fits | !reads_wgt) & (param_fits | !(one_place | fused));
    let in_range = in_range.named("in_range");
    let (dst_next, src_next) = (dst.bits(0, log_acc).named("dst_next"), src.bits(0, log_acc).named("src_next"));

    // P3: what is known of the micro-op before it may fire.
    let valid_3 = m.reg("valid_3", 1, 0);
    let (sound_3, strange_3) = (m.reg("sound_3", 1, 0), m.reg("strange_3", 1, 0));
    let (dst_now, src_3) = (m.data_reg("dst_now", log_acc), m.data_reg("src_3", sizes.src - 2));
    let wgt_3 = m.data_reg("wgt_3", sizes.wgt - 2);
    let src_now = src_3.bits(0, log_acc).named("src_now");
    let moves = (advance & valid_2).named("moves");
    m.when(advance, || {
        valid_3.set(valid_2);
        sound_3.set(valid_2 & in_range & !strange);
        strange_3.set(valid_2 & strange);
    });
    m.when(moves, || {
        dst_now.set(dst_next);
        src_3.set(src.bits(0, src_3.width()));
        wgt_3.set(wgt.bits(0, wgt_3.width()));
    });

    let marks_3 = marks_2.map(|marks| mark("marks_3", moves, marks) & fused.repeat(2));
    let (first, last) = marks_3.map_or((m.lit(0, 1), m.lit(0, 1)), |marks| (marks.bit(0), marks.bit(1)));
    let param_base = (one_place | fused).mux(param, src_now).named("param_base");
    let fire = m.var("fires", m.lit(0, 1));
    let at_work = (fire & slow).named("fires_slow");
    // Whether an accumulator in flight is one that the next micro-op reads.
    let reads_acc = (reads_src & !by_vector).named("reads_acc");
    let read_next = |held: Net<'m>| {
        let index = held.bits(0, log_acc);
        index.eq(dst_next) | (reads_acc & index.eq(src_next))
    };
    // What is in flight is an index and, above it, whether it clears and whether it is a sum of the array.
    let near = |held: Net<'m>| held.bits(2, log_acc - 2).eq(param_base.bits(2, log_acc - 2));
    let flight = if fuses {
        let entry = m.cat(&[sum.mux(sum_dst, dst_now), clears & !sum, sum]);
        each_cycle(m, at_work | sum, entry, moves, &read_next, &near)
    } else if sizes.turns == 1 {
        each_cycle(m, at_work, m.cat(&[dst_now, clears]), moves, &read_next, &near)
    } else {
        in_turns(m, sizes, at_work, m.cat(&[dst_now, clears]), moves, &read_next, &near)
    };
    let quick = m.reg("quick", gemm::latency(sizes), 0);
    quick.set(m.cat(&[fire & !slow, quick.bits(0, quick.width() - 1)]));
    let in_flight = m.any_of(&flight.held).named("in_flight");
    let unaligned = param_base.bits(0, 2).any();
    let settled = !unaligned.mux(in_flight, m.any_of(&flight.near)).named("params_in_flight");
    let settled = if fuses { settled & !(fused & quick.any()) } else { settled };
    let conflict = (flight.conflict & slow).named("conflict");

    // The parameters of REQUANT.
    let param_valid = m.reg("param_valid", 1, 0);
    let param_src = m.data_reg("param_src", log_acc);
    let step = m.reg("param_step", 3, 0);
    let same = m.data_reg("param_same", 1);
    m.when(moves, || same.set(one_place | fused | param_src.eq(src_next)));
    let missing = ((is_requant | last) & !(param_valid & same)).named("param_missing");
    let sound = sound_3;
    // A vector, or a parameter vector, takes as many cycles as the tensor ALU needs turns.
    let pace = (sizes.turns > 1).then(|| m.reg("pace", sizes.turns.trailing_zeros(), 0));
    let paced = pace.map_or(m.lit(0, 1), |pace| pace.any().named("paced"));
    let param_read = (sound & missing & settled & !step.bit(2) & !paced).named("reads_param");
    if let Some(pace) = pace {
        m.when(paced, || pace.set(pace.dec()));
        m.when(at_work | param_read, || pace.set_to(u128::from(sizes.turns) - 1));
    }
    let param_index = (param_base + step.zext(log_acc)).named("param_at");
    let capture = m.reg("capture", 1, 0);
    let which = m.data_reg("which", 2);
    capture.set(param_read);
    m.when(param_read, || {
        which.set(step.bits(0, 2));
        step.set(step.inc());
    });
    m.when(step.bit(2), || {
        step.set_to(0);
        param_valid.set_to(1);
        param_src.set(param_base);
        same.set_to(1);
    });
    // A result that lands among the parameters makes them stale.
    let own = (dst_now - param_src).lt(m.lit(4, log_acc)).named("writes_params");
    m.when((fire & own) | start, || param_valid.set_to(0));

    fire.set(sound & !conflict & !missing & !(paced & slow));
    advance.set(!valid_3 | fire);

    m.output("uop_read", issue);
    m.output("uop_index", at.bits(0, log_uop));
    m.output("fire", fire);
    m.output("dst", dst_now);
    m.output("src", src_3);
    m.output("wgt", wgt_3);
    m.output("param_read", param_read);
    m.output("param_index", param_index);
    m.output("param_capture", capture);
    m.output("param_which", which);
    // The parts of a vector are read with the fields at the inputs.
    let walking = (active | valid_1 | valid_2 | valid_3 | paced).named("at_the_loops");
    m.output("late_dst", flight.late.bits(0, log_acc));
    m.output("late_clear", flight.late.bit(log_acc));
    m.output("late_fused", if fuses { flight.late.bit(log_acc + 1) } else { m.lit(0, 1) });
    m.output("first", first);
    m.output("last", last);
    m.output("walking", walking);
    m.output("busy", walking | in_flight | quick.any());
    m.output("hazard", sound & (conflict | missing));
    m.output("out_of_range", valid_3 & !sound_3 & !strange_3);
    m.output("undecodable", strange_3);
}

/// The accumulators that the tensor ALU is working on.
struct Flight<'m> {
    /// Whether there is one, place by place.
    held: Vec<Net<'m>>,
    /// Whether there is one that may be a parameter, place by place.
    near: Vec<Net<'m>>,
    /// The micro-op at hand reads one of them.
    conflict: Net<'m>,
    /// The accumulator whose result leaves in this cycle.
    late: Net<'m>,
}

/// A vector a cycle: an accumulator for each stage of the pipeline. The first stage holds what fired in the cycle before.
///
/// A micro-op is compared in the cycle before it is at hand, when everything in flight is one stage further back.
fn each_cycle<'m>(
    m: &'m Module,
    fires: Net<'m>,
    dst: Net<'m>,
    moves: Net<'m>,
    read_next: &dyn Fn(Net<'m>) -> Net<'m>,
    is_near: &dyn Fn(Net<'m>) -> Net<'m>,
) -> Flight<'m> {
    let (mut held, mut conflicts, mut near) = (Vec::new(), Vec::new(), Vec::new());
    let (mut valid, mut index, mut before) = (fires, dst, m.lit(0, 1));
    for stage in 0..=ALU_LATENCY {
        let here = m.reg(format!("flight_{stage}"), 1, 0);
        let here_dst = m.data_reg(format!("flight_dst_{stage}"), dst.width());
        let meets = m.data_reg(format!("flight_meets_{stage}"), 1);
        here.set(valid);
        m.when(valid, || here_dst.set(index));
        m.when_else(moves, || meets.set(read_next(index)), || meets.set(before));
        held.push(here);
        near.push(here & is_near(here_dst));
        conflicts.push(here & meets);
        (valid, index, before) = (here, here_dst, meets);
    }
    Flight { held, near, conflict: m.any_of(&conflicts), late: index }
}

/// A vector every so many cycles: as many accumulators as fit into the pipeline at that distance, the newest one first. A
/// micro-op is compared in the cycle before it is at hand.
fn in_turns<'m>(
    m: &'m Module,
    sizes: &Sizes,
    fires: Net<'m>,
    dst: Net<'m>,
    moves: Net<'m>,
    read_next: &dyn Fn(Net<'m>) -> Net<'m>,
    is_near: &dyn Fn(Net<'m>) -> Net<'m>,
) -> Flight<'m> {
    // From the cycle behind the one in which it fires to the one in which its last part is written.
    let cycles = operand::latency(sizes) + ALU_LATENCY + sizes.turns - 1;
    let places = cycles.div_ceil(sizes.turns);
    let under_way = m.reg("under_way", cycles, 0);
    under_way.set(m.cat(&[fires, under_way.bits(0, cycles - 1)]));
    let leaves = under_way.sign();
    let flights = m.reg("flights", places, 0);
    m.when(fires & !leaves, || flights.set(m.cat(&[m.lit(1, 1), flights.bits(0, places - 1)])));
    m.when(!fires & leaves, || flights.set(m.cat(&[flights.bits(1, places - 1), m.lit(0, 1)])));
    let (mut held, mut conflicts, mut near) = (Vec::new(), Vec::new(), Vec::new());
    let (mut index, mut late) = (dst, dst);
    for place in 0..places {
        let here_dst = m.data_reg(format!("flight_dst_{place}"), dst.width());
        let meets = m.data_reg(format!("flight_meets_{place}"), 1);
        m.when(fires, || here_dst.set(index));
        m.when(moves, || meets.set(fires.mux(read_next(index), read_next(here_dst))));
        late = if place == 0 { here_dst } else { flights.bit(place).mux(here_dst, late) };
        held.push(flights.bit(place));
        near.push(flights.bit(place) & is_near(here_dst));
        conflicts.push(flights.bit(place) & meets);
        index = here_dst;
    }
    Flight { held, near, conflict: m.any_of(&conflicts), late }
}
