//! Bulk and tensor copies between global and shared memory.

use super::Env;
use super::access::{Place, global_trouble, param, place_of, shared_at};
use super::atomic::combine;
use super::block::Cluster;
use super::clock::Clock;
use super::copy::{self, Transfer};
use super::shared::{Actor, WHOLE_WARP};
use super::warp::{Warp, lanes};
use crate::fault::{FaultKind, Trouble};
use crate::memory::{AccessError, word};
use crate::op::{Addr, AtomicOp, BulkCopy, BulkKind, Space, TensorCopy};
use crate::tensor_map::TensorMap;
use crate::types::Type;

/// What a copy to shared memory reads when it lands.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Global(u64),
    Tensor(Box<TensorMap>, [i64; 5]),
    /// Bytes of another block's shared memory, read when the copy was started.
    Bytes(Vec<u8>),
}

/// Where a copy from shared memory goes.
#[derive(Clone, Debug)]
enum Target {
    Global(u64),
    Tensor(Box<TensorMap>, [i64; 5]),
}

/// A copy from shared to global memory.
#[derive(Clone, Debug)]
pub(crate) struct StoreCopy {
    lane: usize,
    id: u64,
    block: usize,
    from: u32,
    bytes: u32,
    target: Target,
    reduce: Option<(AtomicOp, Type)>,
    /// What was known when it was started.
    clock: Clock,
    /// The bytes, once read.
    data: Option<Vec<u8>>,
}

/// The bytes of a copy that lands at shared address `to`.
pub(crate) fn fetch(env: &mut Env<'_>, source: &Source, to: u32, bytes: u32) -> Result<Vec<u8>, Trouble> {
    match source {
        Source::Global(a) => {
            env.memory.slice_mut(*a, bytes as usize).map(|b| b.to_vec()).map_err(|e| bulk_trouble(e, "reads"))
        }
        Source::Bytes(data) => Ok(data.clone()),
        Source::Tensor(map, at) => {
            let mut out = vec![0; bytes as usize];
            let row = (map.tile[0] * map.element) as usize;
            for (r, address, inside) in rows(map, *at) {
                let mut line = vec![0; row];
                if let Some(address) = address {
                    let (first, last) = inside;
                    let (a, b) = (first * map.element as usize, last * map.element as usize);
                    let from = env.memory.slice_mut(address, b - a).map_err(|e| bulk_trouble(e, "reads"))?;
                    line[a..b].copy_from_slice(from);
                }
                place(map, to, r * row, &line, &mut |at, chunk| {
                    out[at..at + chunk.len()].copy_from_slice(chunk);
                });
            }
            Ok(out)
        }
    }
}

/// Calls `put` with each chunk of a row of a box and its place in the box as swizzled in shared memory.
fn place(map: &TensorMap, base: u32, start: usize, line: &[u8], put: &mut dyn FnMut(usize, &[u8])) {
    for (i, chunk) in line.chunks(16).enumerate() {
        let plain = base + (start + 16 * i) as u32;
        put((map.swizzle.apply(plain) - base) as usize, chunk);
    }
}

/// The rows of a box at `origin`: number, address of the first element inside the tensor, and which elements are
/// inside; no address where none is.
fn rows(map: &TensorMap, origin: [i64; 5]) -> Vec<(usize, Option<u64>, (usize, usize))> {
    let rank = map.extents.len();
    let count: usize = map.tile[1..].iter().map(|t| *t as usize).product();
    let extent = |i: usize| map.extents[i] as i64;
    let inner = i64::from(map.tile[0]);
    let first = (-origin[0]).clamp(0, inner);
    let last = (extent(0) - origin[0]).clamp(first, inner);
    let mut out = Vec::with_capacity(count);
    for r in 0..count {
        let (mut rest, mut address, mut inside) = (r, map.address, first < last);
        for (i, start) in origin.iter().enumerate().take(rank).skip(1) {
            let at = start + (rest % map.tile[i] as usize) as i64;
            rest /= map.tile[i] as usize;
            inside &= (0..extent(i)).contains(&at);
            address = address.wrapping_add((at as u64).wrapping_mul(map.strides[i]));
        }
        let address = address.wrapping_add(((origin[0] + first) as u64).wrapping_mul(map.element.into()));
        out.push((r, inside.then_some(address), (first as usize, last as usize)));
    }
    out
}

fn bulk_trouble(error: AccessError, what: &str) -> Trouble {
    let t = global_trouble(error);
    Trouble::new(t.kind, format!("a bulk copy {what} global memory that is not there: {}", t.message))
}

/// The tensor map at a lane's address.
fn map_at(env: &mut Env<'_>, cluster: &Cluster, warp: &Warp, addr: Addr, lane: usize) -> Result<TensorMap, Trouble> {
    let mut bytes = [0; 128];
    match place_of(cluster, warp, Space::Generic, addr, lane, 64)? {
        Place::Global(a) => env.memory.read(a, &mut bytes).map_err(global_trouble)?,
        Place::Param(a) => bytes.copy_from_slice(param(env, a, 128)?),
        _ => return Err(Trouble::new(FaultKind::Operand, "a tensor map lives in parameters or global memory only")),
    }
    TensorMap::decode(&bytes).map_err(|e| Trouble::new(FaultKind::Operand, e.to_string()))
}

fn shared(cluster: &Cluster, warp: &Warp, addr: Addr, lane: usize, align: u32) -> Result<(usize, u32), Trouble> {
    shared_at(cluster, warp, addr, lane, align, "a bulk copy needs an address in shared memory here")
}

/// Block and address that a load goes to, and block and address of its barrier.
type Destination = (usize, u32, (usize, u32));

/// Where a load goes: one place, or those of a multicast mask.
fn destinations(
    cluster: &Cluster,
    to: (usize, u32),
    barrier: (usize, u32),
    multicast: Option<u64>,
) -> Result<Vec<Destination>, Trouble> {
    let Some(mask) = multicast else { return Ok(vec![(to.0, to.1, barrier)]) };
    let blocks = cluster.blocks.len();
    if mask == 0 || mask >> blocks != 0 {
        let message = format!("multicast mask {mask:#x} names blocks beyond the {blocks} of the cluster, or none");
        return Err(Trouble::new(FaultKind::Operand, message));
    }
    Ok((0..blocks).filter(|b| mask >> b & 1 == 1).map(|b| (b, to.1, (b, barrier.1))).collect())
}

/// Starts a copy to shared memory.
#[expect(clippy::too_many_arguments, reason = "they are the operands of one instruction")]
fn start_load(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &Warp,
    lane: usize,
    to: (usize, u32),
    bytes: u32,
    source: &Source,
    barrier: (usize, u32),
    multicast: Option<u64>,
) -> Result<(), Trouble> {
    for (block, to, barrier) in destinations(cluster, to, barrier, multicast)? {
        cluster.blocks[barrier.0].barriers.visible_to_copies(barrier.1, warp)?;
        let actor = Actor { lane: WHOLE_WARP, ..warp.actor(env, lane) };
        cluster.blocks[block].shared.begin_copy(to, bytes, &actor)?;
        cluster.flight.push(Transfer::Load { block, to, bytes, source: source.clone(), barrier });
        if !env.late {
            let last = cluster.flight.len() - 1;
            copy::land(env, cluster, last)?;
        }
    }
    Ok(())
}

pub(crate) fn tensor(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    op: &TensorCopy,
    exec: u32,
) -> Result<(), Trouble> {
    for lane in lanes(exec) {
        let blame = |t: Trouble| t.at(lane);
        let map = map_at(env, cluster, warp, op.map, lane).map_err(blame)?;
        if map.extents.len() != op.coordinates.len() {
            let (have, want) = (op.coordinates.len(), map.extents.len());
            let message = format!("{have} coordinates are given for a tensor map of {want} dimensions");
            return Err(Trouble::new(FaultKind::Operand, message).at(lane));
        }
        let mut at = [0i64; 5];
        for (a, c) in at.iter_mut().zip(&op.coordinates) {
            *a = i64::from(warp.lane(*c, lane) as u32 as i32);
        }
        let align = if map.swizzle == crate::Swizzle::None { 128 } else { map.swizzle.span() * 8 };
        let place = shared(cluster, warp, op.shared, lane, align)?;
        let bytes = map.box_bytes();
        match op.barrier {
            Some(barrier) => {
                let barrier = shared(cluster, warp, barrier, lane, 8)?;
                let multicast = op.multicast.map(|r| warp.lane(r, lane) & 0xffff);
                let source = Source::Tensor(Box::new(map), at);
                start_load(env, cluster, warp, lane, place, bytes, &source, barrier, multicast)
            }
            None => {
                let reduce = op.reduce.map(|r| (r, map.ty()));
                let target = Target::Tensor(Box::new(map), at);
                start_store(env, cluster, warp, lane, place, bytes, target, reduce)
            }
        }
        .map_err(blame)?;
    }
    warp.clock.tick(warp.party);
    Ok(())
}

pub(crate) fn bulk(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    op: &BulkCopy,
    exec: u32,
) -> Result<(), Trouble> {
    for lane in lanes(exec) {
        let blame = |t: Trouble| t.at(lane);
        let bytes = warp.lane(op.bytes, lane) as u32;
        if bytes == 0 || !bytes.is_multiple_of(16) {
            let message = format!("a bulk copy of {bytes} bytes is not possible; give a positive multiple of 16");
            return Err(Trouble::new(FaultKind::Operand, message).at(lane));
        }
        let multicast = op.multicast.map(|r| warp.lane(r, lane) & 0xffff);
        let barrier = match op.barrier {
            Some(barrier) => Some(shared(cluster, warp, barrier, lane, 8)?),
            None => None,
        };
        let global = |addr: Addr| match place_of(cluster, warp, Space::Generic, addr, lane, 16)? {
            Place::Global(a) => Ok(a),
            _ => Err(Trouble::new(FaultKind::OutOfBounds, "the copy needs an address in global memory here")),
        };
        match (op.kind, barrier) {
            (BulkKind::GlobalToShared, Some(barrier)) => {
                let from = global(op.from).map_err(blame)?;
                env.memory.slice_mut(from, bytes as usize).map_err(|e| bulk_trouble(e, "reads").at(lane))?;
                let to = shared(cluster, warp, op.to, lane, 16)?;
                start_load(env, cluster, warp, lane, to, bytes, &Source::Global(from), barrier, multicast)
            }
            (BulkKind::SharedToShared, Some(barrier)) => {
                let from = shared(cluster, warp, op.from, lane, 16)?;
                let to = shared(cluster, warp, op.to, lane, 16)?;
                let actor = Actor { asynchronous: true, uninitialised: false, ..warp.actor(env, lane) };
                let data = cluster.blocks[from.0].shared.read(from.1, bytes, &actor).map_err(blame)?.to_vec();
                start_load(env, cluster, warp, lane, to, bytes, &Source::Bytes(data), barrier, None)
            }
            _ => {
                let to = global(op.to).map_err(blame)?;
                env.memory.slice_mut(to, bytes as usize).map_err(|e| bulk_trouble(e, "writes").at(lane))?;
                let from = shared(cluster, warp, op.from, lane, 16)?;
                start_store(env, cluster, warp, lane, from, bytes, Target::Global(to), op.reduce)
            }
        }
        .map_err(blame)?;
    }
    warp.clock.tick(warp.party);
    Ok(())
}

fn start_store(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    lane: usize,
    (block, from): (usize, u32),
    bytes: u32,
    target: Target,
    reduce: Option<(AtomicOp, Type)>,
) -> Result<(), Trouble> {
    let id = env.id();
    let clock = warp.clock.clone();
    let mut store = StoreCopy { lane, id, block, from, bytes, target, reduce, clock, data: None };
    if env.late {
        cluster.blocks[block].shared.hold(from, bytes, id)?;
        warp.copies.stores.start(lane, store);
    } else {
        read_store(env, cluster, warp, &mut store)?;
        write_store(env, &store)?;
    }
    Ok(())
}

/// Reads the source of a store, at the warp's present moment.
fn read_store(env: &mut Env<'_>, cluster: &mut Cluster, warp: &Warp, store: &mut StoreCopy) -> Result<(), Trouble> {
    if store.data.is_some() {
        return Ok(());
    }
    let actor = Actor { clock: &store.clock, asynchronous: true, ..warp.actor(env, store.lane) };
    let shared = &mut cluster.blocks[store.block].shared;
    shared.release(store.id);
    store.data = Some(shared.read(store.from, store.bytes, &actor)?.to_vec());
    Ok(())
}

/// Writes what a store has read to global memory.
fn write_store(env: &mut Env<'_>, store: &StoreCopy) -> Result<(), Trouble> {
    let Some(data) = &store.data else { return Ok(()) };
    env.stats.bulk_bytes += u64::from(store.bytes);
    match &store.target {
        Target::Global(a) => put(env, *a, data, store.reduce),
        Target::Tensor(map, at) => {
            let row = (map.tile[0] * map.element) as usize;
            for (r, address, (first, last)) in rows(map, *at) {
                let Some(address) = address else { continue };
                let mut line = vec![0; row];
                // The places of the chunks are those of a load: reading them back undoes the swizzle.
                let mut next = 0;
                place(map, store.from, r * row, &vec![0; row], &mut |at, chunk| {
                    line[next..next + chunk.len()].copy_from_slice(&data[at..at + chunk.len()]);
                    next += chunk.len();
                });
                let element = map.element as usize;
                put(env, address, &line[first * element..last * element], store.reduce)?;
            }
            Ok(())
        }
    }
}

fn put(env: &mut Env<'_>, address: u64, data: &[u8], reduce: Option<(AtomicOp, Type)>) -> Result<(), Trouble> {
    let to = env.memory.slice_mut(address, data.len()).map_err(|e| bulk_trouble(e, "writes"))?;
    let Some((op, ty)) = reduce else {
        to.copy_from_slice(data);
        return Ok(());
    };
    for (to, from) in to.chunks_mut((ty.bits / 8) as usize).zip(data.chunks((ty.bits / 8) as usize)) {
        let new = combine(op, ty, word(to), word(from), 0).to_le_bytes();
        let n = to.len();
        to.copy_from_slice(&new[..n]);
    }
    Ok(())
}

/// Waits until at most `pending` of each lane's groups are not done, or, if `read`, not read.
pub(crate) fn wait(
    env: &mut Env<'_>,
    cluster: &mut Cluster,
    warp: &mut Warp,
    pending: u32,
    read: bool,
    exec: u32,
) -> Result<(), Trouble> {
    let mut stores = std::mem::take(&mut warp.copies.stores);
    stores.wait(pending, exec, |_, store| {
        read_store(env, cluster, warp, store)?;
        if read {
            return Ok(false);
        }
        write_store(env, store).map(|()| true)
    })?;
    warp.copies.stores = stores;
    warp.clock.tick(warp.party);
    Ok(())
}

/// Ends the stores of a warp that has exited: what has been read is written, and what has not is a fault.
pub(crate) fn end(env: &mut Env<'_>, warp: &mut Warp) -> Result<(), Trouble> {
    for store in warp.copies.stores.take() {
        if store.data.is_none() {
            return Err(Trouble::new(
                FaultKind::InFlight,
                format!(
                    "warp {} has exited before its bulk store has read shared memory; commit it and wait with \
                     cp.async.bulk.wait_group.read 0",
                    warp.index
                ),
            ));
        }
        write_store(env, &store)?;
    }
    Ok(())
}
