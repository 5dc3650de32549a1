//! Which lists a device should have when a query comes, and who scans what then: decisions as values, of facts alone.
//!
//! While a model rewrites the queries of a batch, the lists that the original ones would probe are copied to the device. A pool
//! there holds them, with lists of batches before. When the rewritten queries come, lists in the pool are scanned by the device and
//! the others by the host, and the two results are merged.
//!
//! # Source
//! Lin et al., TeleRAG, arXiv 2502.20969, sections 3 and 4: order by score, round-robin over the batch, hotness that decays. Ours
//! chooses what is to be there first and evicts for it afterwards, so that nothing is evicted that the same batch needs.

/// A list in the device's pool.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cached {
    /// Number of the list.
    pub list: usize,
    /// How often it was needed of late, see [`cooled`]. The coldest leave first.
    pub hotness: f32,
}

/// What a look-ahead may use.
///
/// # Units
/// Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What can be copied while the queries are rewritten.
    pub copy: u64,
    /// What the pool holds.
    pub pool: u64,
}

/// What is to be done before the queries come: first evict, then copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lookahead {
    /// Lists that leave the pool, coldest first.
    pub evict: Vec<usize>,
    /// Lists to copy, in this order.
    pub copy: Vec<usize>,
    /// Lists that are in the pool and expected to be needed.
    pub keep: Vec<usize>,
}

/// Plans for a batch of queries whose lists come in the order of `wanted`, the likeliest first, without one twice in a query.
///
/// Queries take turns, each with its next list. A list that is in the pool is kept. Another one is copied where the copies planned so
/// far and all lists planned so far leave room for it, else passed over. Lists in the pool that nobody took stay where there is room;
/// else the coldest leave, of equal ones the lower. `bytes` are those of each list; the cache has each list once. A list without a size
/// is none, and nobody takes it.
pub fn look_ahead(wanted: &[Vec<usize>], bytes: &[u64], cache: &[Cached], budget: Budget) -> Lookahead {
    let cached = present(cache, bytes.len());
    let mut taken = vec![false; bytes.len()];
    let (mut copied, mut held) = (0u64, 0u64);
    let mut plan = Lookahead::default();
    let turns = wanted.iter().map(Vec::len).max().unwrap_or(0);
    for list in (0..turns).flat_map(|turn| wanted.iter().filter_map(move |lists| lists.get(turn).copied())) {
        let Some(&size) = bytes.get(list) else { continue };
        let fits = |used: u64, most: u64| used.checked_add(size).is_some_and(|used| used <= most);
        if taken[list] || !fits(held, budget.pool) || !(cached[list] || fits(copied, budget.copy)) {
            continue;
        }
        taken[list] = true;
        held += size;
        if cached[list] {
            plan.keep.push(list);
        } else {
            copied += size;
            plan.copy.push(list);
        }
    }
    let mut others: Vec<&Cached> = cache.iter().filter(|entry| taken.get(entry.list) == Some(&false)).collect();
    others.sort_by(|a, b| a.hotness.total_cmp(&b.hotness).then(a.list.cmp(&b.list)));
    let mut stays: u64 = others.iter().map(|entry| bytes[entry.list]).sum();
    for entry in others {
        if held.saturating_add(stays) <= budget.pool {
            break;
        }
        stays -= bytes[entry.list];
        plan.evict.push(entry.list);
    }
    plan
}

/// The cache after a plan was carried out: what stayed, and what was copied, as cold as can be.
pub fn after(plan: &Lookahead, cache: &[Cached]) -> Vec<Cached> {
    let stayed = cache.iter().filter(|entry| !plan.evict.contains(&entry.list)).copied();
    stayed.chain(plan.copy.iter().map(|&list| Cached { list, hotness: 0.0 })).collect()
}

/// The cache after a batch: all hotness is `decay` times what it was, and 1 more for every query that probed the list. Lists that take
/// more than `most` bytes together leave, the coldest first; they are the second result.
pub fn cooled(
    cache: &[Cached],
    probes: &[Vec<usize>],
    decay: f32,
    bytes: &[u64],
    most: u64,
) -> (Vec<Cached>, Vec<usize>) {
    let mut hits = vec![0u32; bytes.len()];
    probes.iter().flatten().for_each(|&list| {
        if let Some(hits) = hits.get_mut(list) {
            *hits += 1;
        }
    });
    let hotter = |entry: &Cached| Cached {
        hotness: entry.hotness * decay + hits.get(entry.list).copied().unwrap_or(0) as f32,
        ..*entry
    };
    let cache: Vec<Cached> = cache.iter().map(hotter).collect();
    let plan = look_ahead(&[], bytes, &cache, Budget { copy: 0, pool: most });
    (after(&plan, &cache), plan.evict)
}

/// Lists of each query that the device scans, and those that the host scans, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Lists in the pool.
    pub device: Vec<Vec<usize>>,
    /// The others.
    pub host: Vec<Vec<usize>>,
}

/// Who scans what, for lists that each query probes and a pool that has lists.
pub fn split(probes: &[Vec<usize>], lists: usize, pool: &[Cached]) -> Split {
    let there = present(pool, lists);
    let halves = probes.iter().map(|probes| probes.iter().copied().partition(|&list| there.get(list) == Some(&true)));
    let (device, host) = halves.unzip();
    Split { device, host }
}

/// Which of so many lists are cached.
fn present(cache: &[Cached], lists: usize) -> Vec<bool> {
    let mut present = vec![false; lists];
    for entry in cache {
        if let Some(present) = present.get_mut(entry.list) {
            *present = true;
        }
    }
    present
}
