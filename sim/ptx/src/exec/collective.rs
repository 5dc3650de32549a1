//! Instructions that lanes of a warp execute together.

use super::warp::{Warp, lanes};
use crate::alu::WARP;
use crate::op::{AtomicOp, Op, Shuffle, Vote};

/// Executes a collective for the lanes of `exec`.
pub(crate) fn execute(warp: &mut Warp, op: &Op, exec: u32) {
    match *op {
        Op::Shuffle { mode, d, p, a, b, c, .. } => shuffle(warp, mode, [d, a, b, c], p, exec),
        Op::Vote { op, p, negated, to_pred, to, .. } => {
            let yes = warp.predicate((p, negated)) & exec;
            let holds = match op {
                Vote::All => yes == exec,
                Vote::Any => yes != 0,
                Vote::Uniform => yes == exec || yes == 0,
                Vote::Ballot => {
                    warp.write(to, &[yes.into(); WARP], exec);
                    return;
                }
            };
            warp.set_predicate(to_pred, if holds { u32::MAX } else { 0 }, exec);
        }
        Op::Match { all, d, p, a, .. } => {
            let values = *warp.read(a);
            let equal = |v: u64| lanes(exec).filter(|l| values[*l] == v).fold(0u32, |m, l| m | 1 << l);
            if all {
                let same = lanes(exec).next().is_some_and(|l| equal(values[l]) == exec);
                warp.write(d, &[if same { exec.into() } else { 0 }; WARP], exec);
                if let Some(p) = p {
                    warp.set_predicate(p, if same { u32::MAX } else { 0 }, exec);
                }
            } else {
                for lane in lanes(exec) {
                    warp.set(d, lane, equal(values[lane]).into());
                }
            }
        }
        Op::ReduceWarp { op, signed, d, a, .. } => {
            let values = *warp.read(a);
            let mut each = lanes(exec).map(|l| values[l] as u32);
            let first = each.next().unwrap_or(0);
            let out = each.fold(first, |x, y| match op {
                AtomicOp::Min if signed => (x as i32).min(y as i32) as u32,
                AtomicOp::Max if signed => (x as i32).max(y as i32) as u32,
                AtomicOp::Min => x.min(y),
                AtomicOp::Max => x.max(y),
                AtomicOp::And => x & y,
                AtomicOp::Or => x | y,
                AtomicOp::Xor => x ^ y,
                _ => x.wrapping_add(y),
            });
            warp.write(d, &[out.into(); WARP], exec);
        }
        Op::Elect { d, p, .. } => {
            let leader = exec.trailing_zeros();
            warp.write(d, &[leader.into(); WARP], exec);
            warp.set_predicate(p, 1 << leader, exec);
        }
        _ => {}
    }
}

fn shuffle(warp: &mut Warp, mode: Shuffle, [d, a, b, c]: [u32; 4], p: Option<u32>, exec: u32) {
    let values = *warp.read(a);
    let mut valid = 0u32;
    let mut out = values;
    for lane in lanes(exec) {
        let (by, clamp) = (warp.lane(b, lane) as u32, warp.lane(c, lane) as u32);
        let (by, segment, bound) = (by as i32 & 31, (clamp >> 8) as i32 & 31, clamp as i32 & 31);
        let here = lane as i32;
        let most = here & segment | bound & !segment;
        let least = here & segment;
        let (from, inside) = match mode {
            Shuffle::Up => (here - by, here - by >= most),
            Shuffle::Down => (here + by, here + by <= most),
            Shuffle::Butterfly => (here ^ by, here ^ by <= most),
            Shuffle::Index => {
                let from = least | by & !segment;
                (from, from <= most)
            }
        };
        let from = if inside { from } else { here };
        valid |= u32::from(inside) << lane;
        let from = from as usize & 31;
        // What a lane that takes no part would give is undefined.
        out[lane] = if exec >> from & 1 == 1 { values[from] } else { u64::from(u32::MAX) };
    }
    warp.write(d, &out, exec);
    if let Some(p) = p {
        warp.set_predicate(p, valid, exec);
    }
}
