//! Loads and stores.

use super::Env;
use super::block::Cluster;
use super::shared::Actor;
use super::warp::{Warp, lanes};
use crate::alu::WARP;
use crate::fault::{FaultKind, Trouble};
use crate::memory::{AccessError, word};
use crate::op::{Addr, LOCAL_WINDOW, Load, Order, PARAM_WINDOW, RANK_SHIFT, SHARED_WINDOW, Space, Store, WINDOW};
use crate::types::mask;

/// Where a lane's address points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Global(u64),
    /// Block of the cluster and address in its shared memory.
    Shared(usize, u32),
    Local(u64),
    Param(u64),
}

/// Finds what `address` in `space` means for a thread of block `block` of the cluster.
pub(crate) fn resolve(cluster: &Cluster, block: usize, space: Space, address: u64) -> Result<Place, Trouble> {
    let inside = |window: u64| (window..window + WINDOW).contains(&address);
    match space {
        Space::Global => Ok(Place::Global(address)),
        Space::Shared => shared(cluster, block, address),
        Space::Local => Ok(Place::Local(address)),
        Space::Param => Ok(Place::Param(address)),
        Space::Generic if inside(SHARED_WINDOW) => shared(cluster, block, address - SHARED_WINDOW),
        Space::Generic if inside(LOCAL_WINDOW) => Ok(Place::Local(address - LOCAL_WINDOW)),
        Space::Generic if inside(PARAM_WINDOW) => Ok(Place::Param(address - PARAM_WINDOW)),
        Space::Generic => Ok(Place::Global(address)),
    }
}

fn shared(cluster: &Cluster, block: usize, address: u64) -> Result<Place, Trouble> {
    // A shared address has 32 bits; a thread that computes one in 64 may carry beyond them.
    let address = address as u32;
    let (rank, offset) = (address >> RANK_SHIFT, address & ((1 << RANK_SHIFT) - 1));
    let block = if rank == 0 { block } else { rank as usize - 1 };
    if block >= cluster.blocks.len() {
        let message = format!("shared address {address:#x} is of no block of the cluster; compute it with mapa");
        return Err(Trouble::new(FaultKind::OutOfBounds, message));
    }
    Ok(Place::Shared(block, offset))
}

/// The fault for an access to global memory.
pub(crate) fn global_trouble(error: AccessError) -> Trouble {
    let kind = match error {
        AccessError::Unallocated { .. } => FaultKind::OutOfBounds,
        AccessError::Freed { .. } => FaultKind::UseAfterFree,
    };
    Trouble::new(kind, format!("{error}; check the index against the size of the buffer"))
}

pub(crate) fn misaligned(address: u64, bytes: u32) -> Trouble {
    let message = format!("address {address:#x} is no multiple of {bytes}, the size of the access");
    Trouble::new(FaultKind::Misaligned, message)
}

impl Warp {
    /// How this warp's lane accesses shared memory.
    pub fn actor<'a>(&'a self, env: &Env<'_>, lane: usize) -> Actor<'a> {
        Actor::new(self.party, lane as u8, &self.clock, env.options)
    }

    /// The address that `addr` is in a lane.
    pub fn address(&self, addr: Addr, lane: usize) -> u64 {
        self.lane(addr.base, lane).wrapping_add(addr.offset as u64)
    }
}

/// Where a lane's address in `space` points, if it is a multiple of `align`.
pub(crate) fn place_of(
    cluster: &Cluster,
    warp: &Warp,
    space: Space,
    addr: Addr,
    lane: usize,
    align: u32,
) -> Result<Place, Trouble> {
    let address = warp.address(addr, lane);
    let place = resolve(cluster, warp.block, space, address).map_err(|t| t.at(lane))?;
    if !address.is_multiple_of(align.into()) {
        return Err(misaligned(address, align).at(lane));
    }
    Ok(place)
}

/// The block and the address in its shared memory that a lane's address points to, of an instruction whose state space
/// may be left out: the address is generic then, and its window tells. `what` is said of an address elsewhere.
pub(crate) fn shared_at(
    cluster: &Cluster,
    warp: &Warp,
    addr: Addr,
    lane: usize,
    align: u32,
    what: &str,
) -> Result<(usize, u32), Trouble> {
    let space = if warp.address(addr, lane) >> 32 == 0 { Space::Shared } else { Space::Generic };
    match place_of(cluster, warp, space, addr, lane, align)? {
        Place::Shared(block, a) => Ok((block, a)),
        _ => Err(Trouble::new(FaultKind::OutOfBounds, what).at(lane)),
    }
}

pub(crate) fn load(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    op: &Load,
    exec: u32,
) -> Result<(), Trouble> {
    let total = op.bytes * op.to.len() as u32;
    let mut traffic = Traffic::new(total);
    for lane in lanes(exec) {
        let place = place_of(cluster, warp, op.space, op.addr, lane, total)?;
        let mut buffer = [0u8; 64];
        let data = &mut buffer[..total as usize];
        match place {
            Place::Global(a) => {
                env.memory.slice_mut(a, data.len()).map(|from| data.copy_from_slice(from)).map_err(global_trouble)
            }
            Place::Shared(b, a) => {
                cluster.visit(b, warp);
                let strong = op.order == Order::Strong;
                let sync = strong && env.options.races;
                if sync {
                    let known = cluster.blocks[b].shared_sync(a);
                    warp.clock.join(known);
                }
                let actor = Actor { strong, ..warp.actor(env, lane) };
                cluster.blocks[b].shared.read(a, total, &actor).map(|from| data.copy_from_slice(from))
            }
            Place::Local(a) => local(env, warp, lane, a, total).map(|r| data.copy_from_slice(&warp.local[r])),
            Place::Param(a) => param(env, a, total).map(|from| data.copy_from_slice(from)),
        }
        .map_err(|t| t.at(lane))?;
        traffic.add(place);
        for (i, (r, width)) in op.to.iter().enumerate() {
            let at = i * op.bytes as usize;
            let mut value = word(&data[at..at + op.bytes as usize]);
            if op.signed {
                let shift = 64 - 8 * op.bytes;
                value = ((value << shift) as i64 >> shift) as u64;
            }
            warp.registers[*r as usize][lane] = value & mask(*width);
        }
    }
    traffic.count(env);
    Ok(())
}

pub(crate) fn store(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    op: &Store,
    exec: u32,
) -> Result<(), Trouble> {
    let total = op.bytes * op.from.len() as u32;
    let mut traffic = Traffic::new(total);
    for lane in lanes(exec) {
        let place = place_of(cluster, warp, op.space, op.addr, lane, total)?;
        let mut buffer = [0u8; 64];
        for (i, r) in op.from.iter().enumerate() {
            let at = i * op.bytes as usize;
            buffer[at..at + op.bytes as usize].copy_from_slice(&warp.lane(*r, lane).to_le_bytes()[..op.bytes as usize]);
        }
        let data = &buffer[..total as usize];
        match place {
            Place::Global(a) => env.memory.write(a, data).map_err(global_trouble),
            Place::Shared(b, a) => {
                cluster.visit(b, warp);
                let strong = op.order == Order::Strong;
                let actor = Actor { strong, ..warp.actor(env, lane) };
                let done = cluster.blocks[b].shared.write(a, data, &actor);
                if strong && env.options.races {
                    cluster.blocks[b].publish(a, &warp.clock);
                }
                done
            }
            Place::Local(a) => local(env, warp, lane, a, total).map(|r| warp.local[r].copy_from_slice(data)),
            Place::Param(_) => {
                Err(Trouble::new(FaultKind::OutOfBounds, "parameters of a kernel are read-only; copy them first"))
            }
        }
        .map_err(|t| t.at(lane))?;
        traffic.add(place);
    }
    if op.order == Order::Strong {
        warp.clock.tick(warp.party);
    }
    traffic.count(env);
    Ok(())
}

/// The bytes of a lane's local memory.
pub(crate) fn local(
    env: &Env<'_>,
    warp: &Warp,
    lane: usize,
    at: u64,
    len: u32,
) -> Result<std::ops::Range<usize>, Trouble> {
    let size = u64::from(env.kernel.local_bytes);
    if at.saturating_add(len.into()) > size {
        let message = format!("{len} bytes at local address {at:#x} lie outside the thread's {size} bytes");
        return Err(Trouble::new(FaultKind::OutOfBounds, message));
    }
    let start = lane * (warp.local.len() / WARP) + at as usize;
    Ok(start..start + len as usize)
}

/// Bytes of the kernel's parameters.
pub(crate) fn param<'a>(env: &Env<'a>, at: u64, len: u32) -> Result<&'a [u8], Trouble> {
    let params = env.launch.params;
    usize::try_from(at).ok().and_then(|a| params.get(a..a.checked_add(len as usize)?)).ok_or_else(|| {
        let size = params.len();
        let message = format!("{len} bytes at {at:#x} lie outside the kernel's {size} bytes of parameters");
        Trouble::new(FaultKind::OutOfBounds, message)
    })
}

/// What one access of a warp costs: sectors of global memory, cycles of the banks of shared memory.
pub(crate) struct Traffic {
    bytes: u32,
    global: Option<Vec<u64>>,
    shared: Option<Vec<u32>>,
}

impl Traffic {
    pub fn new(bytes: u32) -> Self {
        Self { bytes, global: None, shared: None }
    }

    pub fn add(&mut self, place: Place) {
        match place {
            Place::Global(a) => {
                let sectors = self.global.get_or_insert_with(|| Vec::with_capacity(2 * WARP));
                for sector in a / 32..=(a + u64::from(self.bytes) - 1) / 32 {
                    if sectors.last() != Some(&sector) {
                        sectors.push(sector);
                    }
                }
            }
            Place::Shared(_, a) => self.shared.get_or_insert_with(|| Vec::with_capacity(WARP)).push(a),
            Place::Local(_) | Place::Param(_) => {}
        }
    }

    pub fn count(self, env: &mut Env<'_>) {
        if let Some(mut sectors) = self.global {
            if !sectors.is_sorted() {
                sectors.sort_unstable();
                sectors.dedup();
            }
            env.stats.global_requests += 1;
            env.stats.global_sectors += sectors.len() as u64;
        }
        if let Some(addresses) = self.shared {
            env.stats.shared_requests += 1;
            env.stats.shared_wavefronts += wavefronts(&addresses, self.bytes);
        }
    }
}

/// Cycles that the 32 banks take: lanes go in groups of at most 128 bytes, and each bank serves one word a cycle to all
/// that want it.
pub(crate) fn wavefronts(addresses: &[u32], bytes: u32) -> u64 {
    let group = (128 / bytes.max(4)).max(1) as usize;
    let mut total = 0;
    for lanes in addresses.chunks(group) {
        let mut words: Vec<u32> = Vec::with_capacity(WARP);
        for a in lanes {
            words.extend(a / 4..(a + bytes.max(1)).div_ceil(4));
        }
        if !words.is_sorted() {
            words.sort_unstable();
        }
        words.dedup();
        let mut banks = [0u8; 32];
        let mut most = 0;
        for word in words {
            let bank = &mut banks[word as usize % 32];
            *bank += 1;
            most = most.max(*bank);
        }
        total += u64::from(most);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banks_serve_one_word_a_cycle_and_broadcast_it() {
        let lane = |f: fn(u32) -> u32| (0..32).map(f).collect::<Vec<_>>();
        assert_eq!(wavefronts(&lane(|l| 4 * l), 4), 1);
        assert_eq!(wavefronts(&lane(|_| 64), 4), 1);
        assert_eq!(wavefronts(&lane(|l| 8 * l), 4), 2);
        assert_eq!(wavefronts(&lane(|l| 128 * l), 4), 32);
        assert_eq!(wavefronts(&lane(|l| 16 * l), 16), 4);
    }
}
