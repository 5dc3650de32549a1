//! Executes the operations on `mbarrier` objects.

use super::Env;
use super::access::shared_at;
use super::block::Cluster;
use super::copy::{self, Transfer};
use super::warp::{Park, Warp, lanes};
use crate::fault::{FaultKind, Trouble};
use crate::op::{Addr, Mbarrier};

/// What an operation on an `mbarrier` comes to.
pub(crate) enum Waited {
    Done,
    /// Done, and a good moment for others to run.
    Yield,
    Park(Park),
}

/// Executes an operation on an `mbarrier` object.
pub(crate) fn execute(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    op: &Mbarrier,
    exec: u32,
) -> Result<Waited, Trouble> {
    match op {
        Mbarrier::Init { addr, count } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                let party = cluster.next_party;
                if party >= usize::from(u16::MAX) {
                    let message = "the cluster has initialised too many mbarrier objects to tell their copies apart";
                    return Err(Trouble::new(FaultKind::Barrier, message).at(lane));
                }
                cluster.next_party += 1;
                let count = warp.lane(*count, lane) as u32;
                let block = &mut cluster.blocks[block];
                block.barriers.init(a, count, party, &warp.clock, warp.party).map_err(|t| t.at(lane))?;
                block.shared.mark_barrier(a, true).map_err(|t| t.at(lane))?;
            }
            warp.clock.tick(warp.party);
        }
        Mbarrier::Invalidate { addr } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                cluster.blocks[block].barriers.invalidate(a).map_err(|t| t.at(lane))?;
                cluster.blocks[block].shared.mark_barrier(a, false).map_err(|t| t.at(lane))?;
            }
        }
        Mbarrier::Arrive { state, addr, count, bytes, drop, relaxed } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                let count = count.map_or(1, |r| warp.lane(r, lane) as u32);
                let bytes = bytes.map_or(0, |r| i64::from(warp.lane(r, lane) as u32));
                let clock = (!relaxed).then_some(&warp.clock);
                let b = cluster.blocks[block].barriers.visible(a, warp).map_err(|t| t.at(lane))?;
                b.expect(bytes).map_err(|t| t.at(lane))?;
                let done = if *drop { b.drop_arrivals(count, clock) } else { b.arrive(count, clock) };
                let token = done.map_err(|t| t.at(lane))?;
                if let Some(state) = state {
                    warp.set(*state, lane, token);
                }
            }
            warp.clock.tick(warp.party);
            return Ok(Waited::Yield);
        }
        Mbarrier::ExpectTx { addr, bytes } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                let bytes = i64::from(warp.lane(*bytes, lane) as u32);
                let b = cluster.blocks[block].barriers.visible(a, warp).map_err(|t| t.at(lane))?;
                b.expect(bytes).map_err(|t| t.at(lane))?;
            }
        }
        Mbarrier::CompleteTx { addr, bytes } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                let bytes = i64::from(warp.lane(*bytes, lane) as u32);
                let b = cluster.blocks[block].barriers.visible(a, warp).map_err(|t| t.at(lane))?;
                b.complete(bytes, None).map_err(|t| t.at(lane))?;
            }
        }
        Mbarrier::Wait { done, addr, value, parity, blocking, relaxed } => {
            let mut passed = 0u32;
            let mut waits = None;
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                let value = warp.lane(*value, lane);
                let b = cluster.blocks[block].barriers.visible(a, warp).map_err(|t| t.at(lane))?;
                if b.passed(value, *parity) {
                    passed |= 1 << lane;
                    if !relaxed {
                        let known = b.known().clone();
                        warp.clock.join(&known);
                    }
                } else {
                    waits = Some(b.park(block));
                }
            }
            // A try may give up before its phase has passed, and code must then try again: now and then it does.
            if let Some(park) = waits
                && passed == 0
                && *blocking
                && !(env.late && env.random.one_in(4))
            {
                return Ok(Waited::Park(park));
            }
            warp.set_predicate(*done, passed, exec);
            if waits.is_some() {
                return Ok(Waited::Yield);
            }
        }
        Mbarrier::PendingCount { to, state } => {
            for lane in lanes(exec) {
                let pending = warp.lane(*state, lane) & 0xf_ffff;
                warp.set(*to, lane, pending);
            }
        }
        Mbarrier::AsyncArrive { addr, noinc } => {
            for lane in lanes(exec) {
                let (block, a) = place(cluster, warp, *addr, lane)?;
                copy::own(warp, block, "cp.async.mbarrier.arrive takes an mbarrier in").map_err(|t| t.at(lane))?;
                let b = cluster.blocks[block].barriers.visible(a, warp).map_err(|t| t.at(lane))?;
                if !noinc {
                    b.increment().map_err(|t| t.at(lane))?;
                }
                let copies = warp.copies.loads.take_lane(lane);
                let (id, party, clock) = (env.id(), warp.party, warp.clock.clone());
                cluster.flight.push(Transfer::Arrive { id, block, addr: a, copies, party, lane, clock });
                if !env.late {
                    let last = cluster.flight.len() - 1;
                    copy::land(env, cluster, last)?;
                }
            }
            warp.clock.tick(warp.party);
            return Ok(Waited::Yield);
        }
    }
    Ok(Waited::Done)
}

/// Block and address of the object that a lane names.
fn place(cluster: &mut Cluster, warp: &Warp, addr: Addr, lane: usize) -> Result<(usize, u32), Trouble> {
    let (block, a) = shared_at(cluster, warp, addr, lane, 8, "an mbarrier lives in shared memory only")?;
    cluster.visit(block, warp);
    Ok((block, a))
}
