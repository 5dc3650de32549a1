//! Instructions on registers alone.

use super::Env;
use super::block::Cluster;
use super::warp::{Warp, lanes};
use crate::alu::float::{flush, saturate};
use crate::alu::int::{bfi, carry, lop3};
use crate::alu::{CompareFn, Lanes, WARP};
use crate::op::{Combine, Op, Pred, Special};
use crate::types::mask;

/// Executes `op` if it works on registers alone; returns whether it does.
#[inline]
pub(crate) fn execute(env: &Env<'_>, cluster: &Cluster, warp: &mut Warp, op: &Op, exec: u32) -> bool {
    let mut out: Lanes = [0; WARP];
    match op {
        Op::Lane { f, d, a } => {
            f(warp.read(a[0]), warp.read(a[1]), warp.read(a[2]), &mut out);
            warp.write(*d, &out, exec);
        }
        Op::Move { d, a } => {
            let value = *warp.read(*a);
            warp.write(*d, &value, exec);
        }
        Op::Compare { f, p, q, a, b, ftz, with } => {
            let yes = if *ftz {
                f(&warp.read(*a).map(flush), &warp.read(*b).map(flush))
            } else {
                f(warp.read(*a), warp.read(*b))
            };
            let with = with.map(|(c, p, negated)| (c, warp.predicate((p, negated))));
            warp.set_predicate(*p, merge(yes, with), exec);
            if let Some(q) = q {
                warp.set_predicate(*q, merge(!yes, with), exec);
            }
        }
        Op::Select { d, a, b, p, negated } => {
            let yes = warp.predicate((*p, *negated));
            let (x, y) = (warp.read(*a), warp.read(*b));
            for (lane, o) in out.iter_mut().enumerate() {
                *o = if yes >> lane & 1 == 1 { x[lane] } else { y[lane] };
            }
            warp.write(*d, &out, exec);
        }
        Op::Convert { conversion, d, a, b } => {
            for lane in lanes(exec) {
                out[lane] = conversion.apply(warp.lane(*a, lane), warp.lane(*b, lane));
            }
            warp.write(*d, &out, exec);
        }
        Op::Lop3 { d, a, lut } => {
            let [x, y, z] = a.map(|r| warp.read(r));
            for (lane, o) in out.iter_mut().enumerate() {
                *o = lop3(x[lane] as u32, y[lane] as u32, z[lane] as u32, *lut).into();
            }
            warp.write(*d, &out, exec);
        }
        Op::Flush { f, d, a, ftz, sat } => {
            if *ftz {
                let [x, y, z] = a.map(|r| warp.read(r).map(flush));
                f(&x, &y, &z, &mut out);
                out = out.map(flush);
            } else {
                f(warp.read(a[0]), warp.read(a[1]), warp.read(a[2]), &mut out);
            }
            if *sat {
                out = out.map(saturate);
            }
            warp.write(*d, &out, exec);
        }
        Op::Logic { f, p, a, b } => {
            let bits = f(warp.predicate(*a), warp.predicate(*b));
            warp.set_predicate(*p, bits, exec);
        }
        _ => return rest(env, cluster, warp, op, exec),
    }
    true
}

/// The instructions that kernels hold fewer of.
fn rest(env: &Env<'_>, cluster: &Cluster, warp: &mut Warp, op: &Op, exec: u32) -> bool {
    let mut out: Lanes = [0; WARP];
    match op {
        Op::Nop => {}
        Op::PredConst { p, value } => warp.set_predicate(*p, if *value { u32::MAX } else { 0 }, u32::MAX),
        Op::Carry(c) => {
            for lane in lanes(exec) {
                let flag = c.takes && warp.carry >> lane & 1 == 1;
                let operands = c.a.map(|r| warp.lane(r, lane));
                let (value, over) = carry(c.op, c.ty.bits, operands, flag);
                out[lane] = value;
                if c.sets {
                    warp.carry = warp.carry & !(1 << lane) | u32::from(over) << lane;
                }
            }
            warp.write(c.d, &out, exec);
        }
        Op::Bfi { d, a, bits } => {
            for lane in lanes(exec) {
                let [x, y, start, length] = a.map(|r| warp.lane(r, lane));
                out[lane] = bfi(x, y, start, length, (*bits).into());
            }
            warp.write(*d, &out, exec);
        }
        Op::Set { f, d, yes, a, b, with } => {
            let with = with.map(|(c, p, negated)| (c, warp.predicate((p, negated))));
            let bits = merge(f(warp.read(*a), warp.read(*b)), with);
            warp.write(*d, &spread(bits, *yes), exec);
        }
        Op::ComparePacked { f, p, q, a, b } => {
            let (low, high) = both(warp, *f, *a, *b);
            warp.set_predicate(*p, low, exec);
            warp.set_predicate(*q, high, exec);
        }
        Op::SetPacked { f, d, yes, a, b } => {
            let (low, high) = both(warp, *f, *a, *b);
            let (l, h) = (spread(low, yes & 0xffff), spread(high, yes & 0xffff_0000));
            for (lane, o) in out.iter_mut().enumerate() {
                *o = l[lane] | h[lane];
            }
            warp.write(*d, &out, exec);
        }
        Op::SelectSign { d, a, b, c, float } => {
            for lane in lanes(exec) {
                let c = warp.lane(*c, lane) as u32;
                // A NaN selects the second, −0 the first.
                let first = if *float { f32::from_bits(c) >= 0.0 } else { c as i32 >= 0 };
                out[lane] = warp.lane(if first { *a } else { *b }, lane);
            }
            warp.write(*d, &out, exec);
        }
        Op::Pack { d, parts, bits } => {
            for (i, part) in parts.iter().enumerate() {
                let value = warp.read(*part);
                for (o, v) in out.iter_mut().zip(value) {
                    *o |= (v & mask(*bits)) << (i as u32 * bits);
                }
            }
            warp.write(*d, &out, exec);
        }
        Op::Unpack { parts, a, bits } => {
            let value = *warp.read(*a);
            for (i, part) in parts.iter().enumerate() {
                warp.write(*part, &value.map(|v| v >> (i as u32 * bits) & mask(*bits)), exec);
            }
        }
        Op::Special { d, which } => {
            for (lane, o) in out.iter_mut().enumerate() {
                *o = special(env, cluster, warp, *which, lane);
            }
            warp.write(*d, &out, exec);
        }
        Op::CopyLocal { to, from, bytes } => {
            let size = env.kernel.local_bytes as usize;
            for lane in lanes(exec) {
                let start = lane * size;
                let from = start + *from as usize;
                warp.local.copy_within(from..from + *bytes as usize, start + *to as usize);
            }
        }
        _ => return false,
    }
    true
}

fn merge(yes: u32, with: Option<(Combine, u32)>) -> u32 {
    match with {
        None => yes,
        Some((Combine::And, other)) => yes & other,
        Some((Combine::Or, other)) => yes | other,
        Some((Combine::Xor, other)) => yes ^ other,
    }
}

fn spread(bits: u32, yes: u64) -> Lanes {
    std::array::from_fn(|lane| if bits >> lane & 1 == 1 { yes } else { 0 })
}

fn both(warp: &Warp, f: CompareFn, a: Pred, b: Pred) -> (u32, u32) {
    let (x, y) = (warp.read(a), warp.read(b));
    let low = f(&x.map(|v| v & 0xffff), &y.map(|v| v & 0xffff));
    let high = f(&x.map(|v| v >> 16 & 0xffff), &y.map(|v| v >> 16 & 0xffff));
    (low, high)
}

fn special(env: &Env<'_>, cluster: &Cluster, warp: &Warp, which: Special, lane: usize) -> u64 {
    let launch = env.launch;
    let block = &cluster.blocks[warp.block];
    let thread = warp.first_thread + lane as u32;
    let [x, y, _] = launch.block;
    let within = |i: usize| block.ctaid[i] - cluster.origin[i];
    let rank = warp.block as u32;
    let value: u32 = match which {
        Special::Tid(0) => thread % x,
        Special::Tid(1) => thread / x % y,
        Special::Tid(_) => thread / x / y,
        Special::NTid(i) => launch.block[i],
        Special::CtaId(i) => block.ctaid[i],
        Special::NCtaId(i) => launch.grid[i],
        Special::LaneId => lane as u32,
        Special::WarpId => warp.index as u32,
        Special::NWarpId => block.alive.len() as u32,
        Special::ClusterId(i) => block.ctaid[i] / launch.cluster[i],
        Special::NClusterId(i) => launch.grid[i] / launch.cluster[i],
        Special::ClusterCtaId(i) => within(i),
        Special::ClusterNCtaId(i) => launch.cluster[i],
        Special::ClusterCtaRank => rank,
        Special::ClusterNCtaRank => launch.cluster.iter().product(),
        // Blocks run on as many multiprocessors as an H200 has, in the order of the grid.
        Special::SmId => {
            let [gx, gy, _] = launch.grid;
            let [cx, cy, cz] = block.ctaid;
            cx.wrapping_add(gx.wrapping_mul(cy.wrapping_add(gy.wrapping_mul(cz)))) % 132
        }
        Special::NSmId => 132,
        Special::GridId => 1,
        // Time passes by the instruction: it grows, and means nothing.
        Special::Clock | Special::GlobalTimer => return env.instructions,
        Special::DynamicShared => launch.dynamic_shared,
        Special::TotalShared => env.dynamic.1 - crate::op::SHARED_BASE,
        Special::LaneMaskEq => 1 << lane,
        Special::LaneMaskLe => (2u64 << lane).wrapping_sub(1) as u32,
        Special::LaneMaskLt => (1u32 << lane) - 1,
        Special::LaneMaskGe => u32::MAX << lane,
        Special::LaneMaskGt => ((u64::from(u32::MAX) << (lane + 1)) & 0xffff_ffff) as u32,
    };
    value.into()
}
