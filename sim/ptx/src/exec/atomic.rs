//! Atomic instructions.

use super::Env;
use super::access::{Place, Traffic, global_trouble, place_of};
use super::block::Cluster;
use super::shared::Actor;
use super::warp::{Warp, lanes};
use crate::alu::half;
use crate::fault::{FaultKind, Trouble};
use crate::float::{BF16, F16};
use crate::memory::word;
use crate::op::{Atomic, AtomicOp};
use crate::types::{Kind, Type, mask};

/// The new value of an atomic on `old`.
pub(crate) fn combine(op: AtomicOp, ty: Type, old: u64, value: u64, swap: u64) -> u64 {
    let mask = mask(ty.bits);
    let signed = |x: u64| ((x << (64 - ty.bits)) as i64) >> (64 - ty.bits);
    let out = match (op, ty.kind) {
        (AtomicOp::Exchange, _) => value,
        (AtomicOp::CompareSwap, _) => {
            if old & mask == value & mask {
                swap
            } else {
                old
            }
        }
        (AtomicOp::Add, Kind::F32) => u64::from((f32::from_bits(old as u32) + f32::from_bits(value as u32)).to_bits()),
        (AtomicOp::Add, Kind::F64) => (f64::from_bits(old) + f64::from_bits(value)).to_bits(),
        (_, Kind::F16 | Kind::Bf16 | Kind::F16x2 | Kind::Bf16x2) => {
            let format = if matches!(ty.kind, Kind::F16 | Kind::F16x2) { F16 } else { BF16 };
            let one = |a: u64, b: u64| match op {
                AtomicOp::Min => half::min(format, a, b, false),
                AtomicOp::Max => half::max(format, a, b, false),
                _ => half::add(format, a & 0xffff, b & 0xffff),
            };
            let low = one(old, value);
            if ty.bits == 32 { low | one(old >> 16, value >> 16) << 16 } else { low }
        }
        (AtomicOp::Add, _) => old.wrapping_add(value),
        (AtomicOp::And, _) => old & value,
        (AtomicOp::Or, _) => old | value,
        (AtomicOp::Xor, _) => old ^ value,
        (AtomicOp::Min, Kind::S) => signed(old).min(signed(value)) as u64,
        (AtomicOp::Max, Kind::S) => signed(old).max(signed(value)) as u64,
        (AtomicOp::Min, _) => (old & mask).min(value & mask),
        (AtomicOp::Max, _) => (old & mask).max(value & mask),
        (AtomicOp::Increment, _) => {
            if old & mask >= value & mask {
                0
            } else {
                old + 1
            }
        }
        (AtomicOp::Decrement, _) => {
            if old & mask == 0 || old & mask > value & mask {
                value
            } else {
                old - 1
            }
        }
    };
    out & mask
}

pub(crate) fn atomic(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    op: &Atomic,
    exec: u32,
) -> Result<(), Trouble> {
    let bytes = op.ty.bits / 8;
    let total = bytes * op.from.len() as u32;
    let mut traffic = Traffic::new(total);
    for lane in lanes(exec) {
        let place = place_of(cluster, warp, op.space, op.addr, lane, total)?;
        let swap = op.swap.map_or(0, |r| warp.lane(r, lane));
        for (i, from) in op.from.iter().enumerate() {
            let value = warp.lane(*from, lane);
            let step = u64::from(bytes) * i as u64;
            let old = match place {
                Place::Global(a) => {
                    let at = env.memory.slice_mut(a + step, bytes as usize).map_err(|e| global_trouble(e).at(lane))?;
                    let old = word(at);
                    at.copy_from_slice(&combine(op.op, op.ty, old, value, swap).to_le_bytes()[..bytes as usize]);
                    old
                }
                Place::Shared(b, a) => {
                    let a = a + step as u32;
                    cluster.visit(b, warp);
                    if env.options.races {
                        let known = cluster.blocks[b].shared_sync(a);
                        warp.clock.join(known);
                    }
                    let actor = Actor { strong: true, ..warp.actor(env, lane) };
                    let shared = &mut cluster.blocks[b].shared;
                    let old = word(shared.read(a, bytes, &actor).map_err(|t| t.at(lane))?);
                    let new = combine(op.op, op.ty, old, value, swap).to_le_bytes();
                    shared.write(a, &new[..bytes as usize], &actor).map_err(|t| t.at(lane))?;
                    if env.options.races {
                        cluster.blocks[b].publish(a, &warp.clock);
                    }
                    old
                }
                Place::Local(_) | Place::Param(_) => {
                    let message = "an atomic works on global or shared memory only";
                    return Err(Trouble::new(FaultKind::OutOfBounds, message).at(lane));
                }
            };
            if let Some(to) = op.to.get(i) {
                warp.set(*to, lane, old);
            }
        }
        traffic.add(place);
    }
    warp.clock.tick(warp.party);
    traffic.count(env);
    Ok(())
}
