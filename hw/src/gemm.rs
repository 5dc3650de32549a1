//! The GEMM array: products, adder trees and accumulation; LANE runs on its first column, or a column for each of its taps.
//!
//! ```text
//!  P3 inp x wgt --> [ products ] --> P4 tree --> [ partial sums ] --> P5 tree ------> [ sum ] --> P6 + ------> [ result ] --> P7 write
//!     lane vector --> column 0          ACC read                         acc -----> [ held ] ----^
//!                                                                         ^-- forwarded from P7 and P8; P6 from P7
//! ```
//!
//! | port | width | meaning |
//! |---|---|---|
//! | `fire` | 1 | P2: a micro-op of GEMM or LANE reads its operands, which are at the inputs in the next cycle |
//! | `dst` | index | P2: its accumulator |
//! | `clear`, `lane`, `max`, `overwrite` | 1 | P2: GEMM with reset; LANE and its flags; the same for all micro-ops under way |
//! | `part` | log block_in | P2: the vector within a WGT element that LANE reads |
//! | `more_taps` | 2 | LANE's taps beside the first |
//! | `fused`, `first`, `last` | 1 | P2: REQUANT is fused with the instruction; the micro-op is the first, or the last, of a sum |
//! | `inp`, `vector`, `wgt` | elements, taps * lanes * 8 | P3: the operands |
//! | `acc_read`, `acc_index`, `acc` | 1, index, element | P4, P5: the accumulator |
//! | `write`, `write_index`, `result` | 1, index, element | P7: the accumulator's new value; zero where nothing is written |
//! | `write_out` | 1 | P7: the value is for OUT too |
//! | `sum`, `sum_index` | 1, index | P6: a sum that the tensor ALU is to have ends; it is at `result` in the next cycle |
//!
//! A micro-op a cycle, also on one accumulator again and again: a result that is not written yet is forwarded, and then ACC is
//! not read, so that no word is read and written in the same cycle. Latency five cycles from `fire` to the write, and one more
//! with registers between block RAM and the multipliers.

use std::collections::BTreeMap;

use tandem_rtl::{Module, Net, balanced, clog2};

use crate::multiplier::{Factors, PRODUCT_BITS, Pair, pair, products};
use crate::size::Sizes;
use crate::target::Column;

/// Cycles from `fire` to `write`.
pub(crate) fn latency(sizes: &Sizes) -> u32 {
    5 + u32::from(sizes.target.operand_registers)
}

/// The block.
pub fn gemm(sizes: &Sizes) -> Module {
    let m = Module::new("gemm_array");
    describe(&m, sizes);
    m
}

fn describe<'m>(m: &'m Module, sizes: &Sizes) {
    let config = &sizes.config;
    let (batch, block_in, block_out) = (config.batch() as u32, config.block_in() as u32, config.block_out() as u32);
    let (log_acc, lanes) = (config.log_acc_depth(), sizes.lanes);
    let fire = m.input("fire", 1);
    let dst = m.input("dst", log_acc);
    let asks_lane = m.input("lane", 1);
    // The next instruction may be at hand before the last micro-op of this one is written.
    let mode = |name: &str, asked: Net<'m>| {
        let held = m.data_reg(format!("{name}_held"), asked.width());
        m.when(fire, || held.set(asked));
        held
    };
    let clear = mode("clear", m.input("clear", 1));
    let lane = mode("lane", asks_lane);
    let max = mode("max", m.input("max", 1));
    let overwrite = mode("overwrite", m.input("overwrite", 1));
    let more_taps = mode("more_taps", m.input("more_taps", 2));
    let taps = config.lane_taps();
    // Of a sum that REQUANT is fused with: the first and the last micro-op, from stage to stage.
    let [asks_fused, first, last] = ["fused", "first", "last"].map(|name| m.input(name, 1));
    let fused = config.has_fused_requant().then(|| mode("fused", asks_fused));
    let mut marks = fused.map(|_| m.cat(&[first, last]));
    let part = m.input("part", block_in.trailing_zeros());
    let inp = m.input("inp", config.inp_elem_bytes() as u32 * 8);
    let vector = m.input("vector", taps as u32 * lanes * 8);
    let wgt = m.input("wgt", config.wgt_elem_bytes() as u32 * 8);
    let acc = m.input("acc", lanes * 32);

    // Valid and destination of the stages 3 to 7. With registers for the operands stage 3 is a cycle later than their arrival.
    let late = usize::from(sizes.target.operand_registers);
    let mut stages = Vec::new();
    let (mut valid, mut index) = (fire, dst);
    for stage in 3 - late..=7 {
        let (held, held_dst) = (m.reg(format!("valid_{stage}"), 1, 0), m.data_reg(format!("dst_{stage}"), log_acc));
        held.set(valid);
        m.when(valid, || held_dst.set(index));
        marks = marks.filter(|_| stage < 7).map(|before| {
            let held = m.data_reg(format!("marks_{stage}"), 2);
            m.when(valid, || held.set(before));
            held
        });
        stages.push((held, held_dst, marks));
        (valid, index) = (held, held_dst);
    }
    let arrived = stages[0].0;
    let stage = |number: usize| stages[number + late - 3];
    let multiplies = (stage(3).0 & !clear).named("multiplies");
    let part_3 = m.data_reg("part_3", part.width());
    m.when(fire & asks_lane, || part_3.set(part));

    // The operands. Column 0 serves LANE too.
    let hold = |name: String, value: Net<'m>| {
        if late == 0 {
            return value;
        }
        let held = m.data_reg(name, value.width());
        m.when(arrived & !clear, || held.set(value));
        held
    };
    let lane_inputs: Vec<Vec<Net<'_>>> = vector.lanes(taps as u32).into_iter().map(|tap| tap.lanes(lanes)).collect();
    let lane_weights: Vec<Vec<Net<'_>>> = (0..taps)
        .map(|tap| {
            let part = part_3 + m.lit(tap as u128, part_3.width());
            wgt.pick(part, block_out * 8).named(&format!("lane_weights_{tap}")).lanes(block_out)
        })
        .collect();
    let mut inputs: Vec<Vec<Net<'_>>> = inp.lanes(batch).into_iter().map(|row| row.lanes(block_in)).collect();
    let mut weights: Vec<Vec<Net<'_>>> = wgt.lanes(block_out).into_iter().map(|row| row.lanes(block_in)).collect();
    // By output lane, of all batch rows: what column 0 multiplies.
    let at = |b: usize, o: usize| b * block_out as usize + o;
    // By column of LANE, then by output lane.
    let mut own_inputs: Vec<Vec<Net<'_>>> = vec![Vec::new(); taps];
    for (b, row) in inputs.iter_mut().enumerate() {
        for (i, own) in own_inputs.iter_mut().enumerate() {
            for o in 0..block_out as usize {
                let name = if i == 0 { format!("input_{b}_{o}") } else { format!("input_{b}_{o}_{i}") };
                own.push(hold(name, lane.mux(lane_inputs[i][at(b, o)], row[i])));
            }
        }
        for (i, x) in row.iter_mut().enumerate().skip(taps) {
            *x = hold(format!("row_input_{b}_{i}"), *x);
        }
    }
    for (o, row) in weights.iter_mut().enumerate() {
        for (i, w) in row.iter_mut().enumerate() {
            let value = lane_weights.get(i).map_or(*w, |lanes| lane.mux(lanes[o], *w));
            *w = hold(format!("weight_{o}_{i}"), value);
        }
    }

    // P3: products, one by one or in pairs of output lanes.
    let columns = sizes.target.columns(block_in, lanes, taps);
    let quick = multiplies & !lane;
    // Whether LANE has a tap on this column.
    let uses = |column: usize| !more_taps.lt(m.lit(column as u128, 2));
    let mut wanted = Vec::new();
    let mut pairs: BTreeMap<(usize, usize), Pair<'_>> = BTreeMap::new();
    for b in 0..batch as usize {
        for o in 0..block_out as usize {
            for (i, column) in columns.iter().enumerate() {
                let (x, enable) = match own_inputs.get(i) {
                    Some(own) if i == 0 => (own[at(b, o)], multiplies),
                    Some(own) => (own[at(b, o)], quick | (multiplies & uses(i))),
                    None => (inputs[b][i], quick),
                };
                match column {
                    Column::Single(recipes) => {
                        let (name, recipe) = (format!("product_{b}_{o}_{i}"), recipes[at(b, o)]);
                        wanted.push(Factors { name, x, w: weights[o][i], enable, recipe });
                    }
                    Column::Pairs if o % 2 == 0 => {
                        let both = [weights[o][i], weights[o + 1][i]];
                        pairs.insert((at(b, o), i), pair(m, &format!("pair_{b}_{o}_{i}"), x, both, quick));
                    }
                    Column::Pairs => {}
                }
            }
        }
    }
    let mut products = products(m, &wanted).into_iter();
    let lane_values: Vec<Net<'_>> = own_inputs[0]
        .iter()
        .enumerate()
        .map(|(at, &x)| {
            let value = m.data_reg(format!("lane_value_{}_{}", at / block_out as usize, at % block_out as usize), 8);
            m.when(stage(3).0 & lane & max, || value.set(x));
            value
        })
        .collect();
    let surplus: Vec<Option<Net<'_>>> =
        inputs.iter().enumerate().map(|(b, row)| surplus(m, b, &columns, row, quick, stage(4).0 & !lane)).collect();

    // P4 and P5: the tree, half of its levels each; sums grow by a bit a level.
    let levels = block_in.trailing_zeros();
    let chunk = 1usize << levels.div_ceil(2);
    let sum_bits = PRODUCT_BITS + levels;
    let grow = |name: &str, values: &[Net<'m>]| grow(name, values, sizes.target.ripple_sums);
    let mut sums = Vec::new();
    for (at, lane_value) in lane_values.iter().enumerate() {
        let (b, high) = (at / block_out as usize, at % 2 == 1);
        let partner = at - at % 2;
        let row: Vec<Net<'_>> = columns
            .iter()
            .enumerate()
            .map(|(i, column)| match column {
                Column::Single(_) => products.next().unwrap_or(m.lit(0, PRODUCT_BITS)),
                Column::Pairs if high => pairs[&(partner, i)].high,
                Column::Pairs => pairs[&(partner, i)].low,
            })
            .collect();
        let register = |name: String, values: &[Net<'m>]| {
            let sum = grow(&name, values);
            let held = m.data_reg(name, sum.width());
            m.when(stage(4).0 & !lane, || held.set(sum));
            held
        };
        let partials: Vec<Net<'_>> =
            row.chunks(chunk).enumerate().map(|(k, group)| register(format!("partial_{at}_{k}"), group)).collect();
        let own: Vec<Net<'_>> =
            (0..taps).map(|i| if i == 0 { row[0] } else { row[i] & uses(i).repeat(PRODUCT_BITS) }).collect();
        let own = grow(&format!("taps_{at}"), &own);
        let lane_5 = m.data_reg(format!("lane_{at}"), own.width());
        m.when(stage(4).0 & lane, || lane_5.set(max.mux(lane_value.sext(own.width()), own)));
        let mut whole = grow(&format!("whole_{at}"), &partials);
        assert!(whole.width() == sum_bits, "a sum of {} bits", whole.width());
        if high {
            let excess: Vec<Net<'_>> =
                (0..columns.len()).filter_map(|i| Some(pairs.get(&(partner, i))?.excess)).collect();
            if !excess.is_empty() {
                whole = whole - register(format!("excess_{at}"), &excess).sext(sum_bits);
            }
        } else if let Some(surplus) = surplus[b] {
            whole = whole - m.cat(&[m.lit(0, 7), surplus]).sext(sum_bits);
        }
        let sum = m.data_reg(format!("sum_{at}"), sum_bits);
        m.when(stage(5).0 & !clear, || sum.set(lane.mux(lane_5.sext(sum_bits), whole)));
        sums.push(sum);
    }

    // P4 reads the accumulator, unless P7 writes it now: then it is forwarded from behind the write. Who is ahead is known a
    // cycle before it matters.
    let begins = |number: usize| stage(number).2.map_or(m.lit(0, 1), |marks| marks.bit(0));
    let needs_acc = !clear & !(lane & overwrite) & !begins(4);
    let collides = (stage(7).0 & stage(4).1.eq(stage(7).1)).named("collides");
    let reads = (stage(4).0 & needs_acc & !collides).named("reads_acc");
    let written_before = m.delay("forward_8", collides);
    let computed_before = m.delay("forward_7", stage(6).0 & stage(4).1.eq(stage(6).1));
    let ahead = m.delay("forward_now", stage(6).0 & stage(5).1.eq(stage(6).1));

    // P5 holds the newest value there is; P6 accumulates, on the result of the micro-op right before where it is the same one.
    let mut results = Vec::new();
    for (at, (sum, old)) in sums.iter().zip(acc.lanes(lanes)).enumerate() {
        let result = m.data_reg(format!("result_{at}"), 32);
        let written = m.data_reg(format!("written_{at}"), 32);
        m.when(stage(7).0, || written.set(result));
        let held = m.data_reg(format!("held_{at}"), 32);
        m.when(stage(5).0, || held.set(computed_before.mux(result, written_before.mux(written, old))));
        let value = ahead.mux(result, held).named(&format!("value_{at}"));
        let sum = sum.sext(32);
        let greater = value.lt_signed(sum).mux(sum, value);
        let accumulated = (lane & max).mux(greater, value + sum);
        let chosen = ((lane & overwrite) | begins(6)).mux(sum, accumulated);
        // Zero where nothing is written, so that ACC can join its writers by OR.
        m.when_else(stage(6).0, || result.set(clear.mux(m.lit(0, 32), chosen)), || result.set_to(0));
        results.push(result);
    }
    m.output("acc_read", reads);
    m.output("acc_index", stage(4).1);
    m.output("write", stage(7).0);
    m.output("write_index", stage(7).1);
    m.output("result", m.cat(&results));
    let ends = stage(6).2.map_or(m.lit(0, 1), |marks| marks.bit(1));
    m.output("sum", stage(6).0 & ends);
    m.output("sum_index", stage(6).1);
    m.output("write_out", stage(7).0 & !fused.unwrap_or(m.lit(0, 1)));
}

/// What the offset of the weights adds to the first products of the pairs of a batch row, over 128: the sum of the inputs that
/// are multiplied in pairs, two cycles later.
fn surplus<'m>(
    m: &'m Module,
    b: usize,
    columns: &[Column],
    inputs: &[Net<'m>],
    multiplies: Net<'m>,
    adds: Net<'m>,
) -> Option<Net<'m>> {
    let late: Vec<Net<'m>> = (0..columns.len())
        .filter(|&i| columns[i] == Column::Pairs)
        .map(|i| {
            let held = m.data_reg(format!("paired_input_{b}_{i}"), 8);
            m.when(multiplies, || held.set(inputs[i]));
            held
        })
        .collect();
    if late.is_empty() {
        return None;
    }
    let name = format!("surplus_{b}");
    let sum = grow(&name, &late, true);
    let held = m.data_reg(name, sum.width());
    m.when(adds, || held.set(sum));
    Some(held)
}

/// The sum of signed values, wide enough for all of them: a tree, of plain adders with `ripple`.
fn grow<'m>(name: &str, values: &[Net<'m>], ripple: bool) -> Net<'m> {
    if let [only] = values {
        return *only;
    }
    if !ripple {
        let width = values[0].width() + clog2(values.len());
        return balanced(&values.iter().map(|value| value.sext(width)).collect::<Vec<_>>(), |a, b| a + b);
    }
    let mut level = values.to_vec();
    for number in 0.. {
        if level.len() == 1 {
            break;
        }
        let width = level[0].width() + 1;
        let add = |(at, pair): (usize, &[Net<'m>])| match *pair {
            [a, b] => (a.sext(width) + b.sext(width)).kept(&format!("{name}_add_{number}_{at}")),
            _ => pair[0].sext(width),
        };
        level = level.chunks(2).enumerate().map(add).collect();
    }
    level[0]
}
