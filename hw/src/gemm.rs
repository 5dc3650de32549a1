//! The GEMM array: products, adder trees and accumulation; LANE runs on its first column.
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
//! | `clear`, `lane`, `max`, `overwrite` | 1 | GEMM with reset; LANE and its flags: stay while the instruction runs |
//! | `part` | log block_in | P2: the vector within a WGT element that LANE reads |
//! | `inp`, `vector`, `wgt` | elements, lanes * 8 | P3: the operands |
//! | `acc_read`, `acc_index`, `acc` | 1, index, element | P4, P5: the accumulator |
//! | `write`, `write_index`, `result` | 1, index, element | P7: the accumulator's new value; zero where nothing is written |
//!
//! A micro-op a cycle, also on one accumulator again and again: a result that is not written yet is forwarded, and then ACC is
//! not read, so that no word is read and written in the same cycle. Latency [`GEMM_LATENCY`] cycles from `fire` to the write.

use tandem_rtl::{Module, Net, balanced, clog2};

use crate::size::Sizes;

/// Cycles from `fire` to `write`.
pub const GEMM_LATENCY: u32 = 5;

/// The block.
pub fn gemm(sizes: &Sizes) -> Module {
    let m = Module::new("gemm_array");
    let config = &sizes.config;
    let (batch, block_in, block_out) = (config.batch() as u32, config.block_in() as u32, config.block_out() as u32);
    let (log_acc, lanes) = (config.log_acc_depth(), sizes.lanes);
    let fire = m.input("fire", 1);
    let dst = m.input("dst", log_acc);
    let clear = m.input("clear", 1);
    let lane = m.input("lane", 1);
    let max = m.input("max", 1);
    let overwrite = m.input("overwrite", 1);
    let part = m.input("part", block_in.trailing_zeros());
    let inp = m.input("inp", config.inp_elem_bytes() as u32 * 8);
    let vector = m.input("vector", lanes * 8);
    let wgt = m.input("wgt", config.wgt_elem_bytes() as u32 * 8);
    let acc = m.input("acc", lanes * 32);

    // Valid and destination of the stages 3 to 7.
    let mut stages = Vec::new();
    let (mut valid, mut index) = (fire, dst);
    for stage in 3..=7 {
        let (held, held_dst) = (m.reg(format!("valid_{stage}"), 1, 0), m.data_reg(format!("dst_{stage}"), log_acc));
        held.set(valid);
        m.when(valid, || held_dst.set(index));
        stages.push((held, held_dst));
        (valid, index) = (held, held_dst);
    }
    let stage = |number: usize| stages[number - 3];
    let multiplies = (stage(3).0 & !clear).named("multiplies");
    let part_3 = m.data_reg("part_3", part.width());
    m.when(fire & lane, || part_3.set(part));

    // P3: products. Column 0 serves LANE too.
    let rows: Vec<Vec<Net<'_>>> = inp.lanes(batch).into_iter().map(|row| row.lanes(block_in)).collect();
    let weights: Vec<Vec<Net<'_>>> = wgt.lanes(block_out).into_iter().map(|row| row.lanes(block_in)).collect();
    let lane_inputs = vector.lanes(lanes);
    let lane_weights = wgt.pick(part_3, block_out * 8).named("lane_weights").lanes(block_out);
    let mut products: Vec<Vec<Net<'_>>> = Vec::new();
    let mut lane_values = Vec::new();
    for (b, inputs) in rows.iter().enumerate() {
        for (o, weights) in weights.iter().enumerate() {
            let at = b * block_out as usize + o;
            let mut row = Vec::new();
            for (i, (&x, &w)) in inputs.iter().zip(weights).enumerate() {
                let (mut x, mut w) = (x, w);
                let mut enable = multiplies & !lane;
                if i == 0 {
                    x = lane.mux(lane_inputs[at], x);
                    w = lane.mux(lane_weights[o], w);
                    enable = multiplies;
                }
                let product = m.data_reg(format!("product_{b}_{o}_{i}"), 16);
                m.when(enable, || product.set(x.mul_signed(w)));
                row.push(product);
            }
            products.push(row);
            let value = m.data_reg(format!("lane_value_{b}_{o}"), 8);
            m.when(stage(3).0 & lane & max, || value.set(lane_inputs[at]));
            lane_values.push(value);
        }
    }

    // P4 and P5: the tree, half of its levels each; sums grow by a bit a level.
    let levels = block_in.trailing_zeros();
    let first_levels = levels.div_ceil(2);
    let mut sums = Vec::new();
    for (at, row) in products.iter().enumerate() {
        let chunk = 1usize << first_levels;
        let partials: Vec<Net<'_>> = row
            .chunks(chunk)
            .enumerate()
            .map(|(k, group)| {
                let sum = grow(group);
                let partial = m.data_reg(format!("partial_{at}_{k}"), sum.width());
                m.when(stage(4).0 & !lane, || partial.set(sum));
                partial
            })
            .collect();
        let lane_5 = m.data_reg(format!("lane_{at}"), 16);
        m.when(stage(4).0 & lane, || lane_5.set(max.mux(lane_values[at].sext(16), row[0])));
        let whole = grow(&partials);
        let width = whole.width();
        let sum = m.data_reg(format!("sum_{at}"), width);
        m.when(stage(5).0 & !clear, || sum.set(lane.mux(lane_5.sext(width), whole)));
        sums.push(sum);
    }

    // P4 reads the accumulator, unless P7 writes it now: then it is forwarded from behind the write. Who is ahead is known a
    // cycle before it matters.
    let needs_acc = !clear & !(lane & overwrite);
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
        let chosen = (lane & overwrite).mux(sum, accumulated);
        // Zero where nothing is written, so that ACC can join its writers by OR.
        m.when_else(stage(6).0, || result.set(clear.mux(m.lit(0, 32), chosen)), || result.set_to(0));
        results.push(result);
    }
    m.output("acc_read", reads);
    m.output("acc_index", stage(4).1);
    m.output("write", stage(7).0);
    m.output("write_index", stage(7).1);
    m.output("result", m.cat(&results));
    m
}

/// The sum of signed values, wide enough for all of them.
fn grow<'m>(values: &[Net<'m>]) -> Net<'m> {
    if let [only] = values {
        return *only;
    }
    let width = values[0].width() + clog2(values.len());
    balanced(&values.iter().map(|value| value.sext(width)).collect::<Vec<_>>(), |a, b| a + b)
}
