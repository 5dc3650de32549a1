//! The GEMM array of the sequential machine, with the accumulators' adder; LANE runs on its first column.
//!
//! ```text
//!  P2 fire --> INP, WGT --> P3 [ products ] --> P4 [ sum ] --> P5 + acc --> ACC, a micro-op a cycle
//!                                            ACC read   ^---- [ result ] of the micro-op before
//! ```
//!
//! Where the target asks for operand registers, sums of two products have registers too, and so have accumulators between ACC and
//! the adder: P5 is two cycles later.
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `fire`, `dst` | 1, index | P2: a micro-op of GEMM or LANE reads its operands, which are at the inputs in the next cycle |
//! | `clear`, `lane`, `overwrite` | 1 | GEMM with reset; LANE and its flag: stay while the instruction runs |
//! | `unit`, `minus` | 1 | P2: the weight is 1, or with `minus` -1: LANE with `max` |
//! | `part` | log block_in | P2: the vector within a WGT element that LANE reads |
//! | `inp`, `wgt` | elements | P3: the operands |
//! | `acc_read`, `acc_index`, `acc` | 1, index, element | P4, P5: the accumulator |
//! | `write`, `write_index`, `result` | lanes, index, element | P5: the accumulator's new value |
//! | `busy` | 1 | a micro-op is in the pipeline |
//!
//! LANE with `max` and without `overwrite` takes two passes: the first one subtracts the inputs to see which accumulators are
//! less, the second one writes these alone. The passes, and micro-ops of this kind, are two cycles apart, or four, so that none of
//! them takes a value that is only in part written from behind the write.

use tandem_rtl::{Module, Net, balanced, clog2};

use crate::multiplier::{Factors, products};
use crate::size::Sizes;
use crate::target::{Column, Recipe};

/// The block.
pub(crate) fn array(sizes: &Sizes) -> Module {
    let m = Module::new("sequential_array");
    let config = &sizes.config;
    let block = config.block_out() as u32;
    let log_acc = config.log_acc_depth();
    let fire = m.input("fire", 1);
    let dst = m.input("dst", log_acc);
    let [clear, lane, overwrite] = ["clear", "lane", "overwrite"].map(|name| m.input(name, 1));
    let (unit, minus) = (m.input("unit", 1), m.input("minus", 1));
    let part = m.input("part", block.trailing_zeros());
    let inp = m.input("inp", block * 8);
    let wgt = m.input("wgt", block * block * 8);
    let acc = m.input("acc", block * 32);

    // The stages in which sums end, and in which they are added to the accumulators.
    let deep = sizes.target.operand_registers;
    let added = if deep { 7 } else { 5 };
    let read = if deep { added - 2 } else { added - 1 };
    let mut stages = Vec::new();
    let (mut valid, mut index) = (fire, dst);
    for stage in 3..=added {
        let (held, held_dst) = (m.reg(format!("valid_{stage}"), 1, 0), m.data_reg(format!("dst_{stage}"), log_acc));
        held.set(valid);
        held_dst.set(index);
        stages.push((held, held_dst));
        (valid, index) = (held, held_dst);
    }
    let stage = |number: usize| stages[number - 3];
    let (part_3, unit_3) = (m.data_reg("part_3", part.width()), m.data_reg("unit_3", 1));
    let minuses: Vec<Net<'_>> = (3..=added).map(|stage| m.data_reg(format!("minus_{stage}"), 1)).collect();
    part_3.set(part);
    unit_3.set(unit);
    minuses.iter().zip([minus].iter().chain(&minuses)).for_each(|(held, before)| held.set(*before));

    // P3: products; LANE uses those of column 0 alone.
    let inputs = inp.lanes(block);
    let lane_weights = wgt.pick(part_3, block * 8).named("lane_weights").lanes(block);
    let units = minuses[0].repeat(7);
    let one = m.cat(&[m.lit(1, 1), units]).named("one");
    let columns = sizes.target.columns(block, block, 1);
    let mut wanted = Vec::new();
    for (o, weights) in wgt.lanes(block).into_iter().enumerate() {
        for (i, w) in weights.lanes(block).into_iter().enumerate() {
            let (x, w) = match i {
                0 => (lane.mux(inputs[o], inputs[0]), lane.mux(unit_3.mux(one, lane_weights[o]), w)),
                _ => (inputs[i] & (!lane).repeat(8), w),
            };
            let recipe = match &columns[i] {
                Column::Single(recipes) => recipes[o],
                Column::Pairs => Recipe::Infer,
            };
            wanted.push(Factors { name: format!("product_{o}_{i}"), x, w, enable: stage(3).0, recipe });
        }
    }
    let all = products(&m, &wanted);
    let mut sums = Vec::new();
    for (o, row) in all.chunks(block as usize).enumerate() {
        // P4.
        let width = 16 + clog2(row.len());
        let mut terms: Vec<Net<'_>> = row.iter().map(|value| value.sext(width)).collect();
        if deep {
            let pair = |(at, pair): (usize, &[Net<'_>])| {
                let held = m.data_reg(format!("pair_{o}_{at}"), 17);
                held.set((pair[0] + pair[1]).bits(0, 17));
                held.sext(width)
            };
            terms = terms.chunks(2).enumerate().map(pair).collect();
        }
        let whole = balanced(&terms, |a, b| a + b);
        let sum = m.data_reg(format!("sum_{o}"), width);
        m.when_else(clear, || sum.set_to(0), || sum.set(whole));
        sums.push(if deep { m.delay(format!("sum_{o}_late"), sum) } else { sum });
    }

    // P5, on the newest value there is.
    let (early_minus, late_minus) = (minuses[minuses.len() - 2], minuses[minuses.len() - 1]);
    // What P5 writes now is not read but taken from behind the write.
    let meets =
        |behind: usize| (stage(added).0 & stage(added - behind).1.eq(stage(added).1)).named(&format!("meets_{behind}"));
    let collides = meets(added - read);
    let fresh = m.delay("fresh", clear | (lane & overwrite) | (unit & !early_minus));
    let ahead = m.delay("ahead", meets(1));
    let ahead_of_read = deep.then(|| m.delay("ahead_of_read", collides));
    let (mut results, mut writes) = (Vec::new(), Vec::new());
    for (o, (sum, old)) in sums.iter().zip(acc.lanes(block)).enumerate() {
        let result = m.data_reg(format!("result_{o}"), 32);
        let old = ahead_of_read.map_or(old, |ahead| {
            let held = m.data_reg(format!("old_{o}"), 32);
            held.set(ahead.mux(result, old));
            held
        });
        let value = ahead.mux(result, old) & (!fresh).repeat(32);
        let sum = sum.sext(32);
        let total = (value + sum).named(&format!("total_{o}"));
        result.set(total);
        results.push(total);
        // Less than the input: the difference is negative, or it would be but for an overflow.
        let less = m.data_reg(format!("less_{o}"), 1);
        let overflow = value.sign().eq(sum.sign()) & total.sign().ne(value.sign());
        m.when(stage(added).0 & late_minus, || less.set(total.sign() ^ overflow));
        writes.push(stage(added).0 & !late_minus & (less | !unit | overwrite));
    }
    m.output("acc_read", stage(read).0 & !collides);
    m.output("acc_index", stage(read).1);
    m.output("write", m.cat(&writes));
    m.output("write_index", stage(added).1);
    m.output("result", m.cat(&results));
    m.output("busy", m.any_of(&(3..=added).map(|number| stage(number).0).collect::<Vec<_>>()));
    m
}
