//! Which cluster of blocks computes what: a schedule of rows in segments, made from lengths and ranks alone.
//!
//! A segment is cut into items of a few rows, all of whose blocks have the same rows: the blocks of a cluster share the elements of
//! a sum, and the columns of the result. The more blocks a cluster has, the sooner it is done with one item, and the fewer clusters
//! there are: the plan takes the size with which the busiest cluster is done first. Items are handed out with the longest first, each
//! to the cluster that has least to do. Nothing depends on timing.

use crate::device::Facts;
use crate::error::{GpuError, Result};
use crate::schedule::{Balance, imbalance};
use std::ops::Range;
use tandem_ops::sgmv::Batch;

/// Ranks of an adapter at most: what shared memory has room for.
pub const MOST_RANKS: usize = 512;
/// Items of a plan at most.
pub const MOST_ITEMS: usize = 65_536;
/// Words of 32 bits of an item.
pub const ITEM_WORDS: usize = 4;
/// Rows and ranks of a pair, the least that a warp multiplies.
pub const SIDE: usize = 16;
/// Pairs of an item with more than [`SIDE`] rows at most, and its rows.
const MOST_PAIRS: usize = 16;
const MOST_ROWS: usize = 64;
/// Bytes that memory could have moved for a block in the time in which one item's loads wait for another and blocks for each other:
/// two microseconds, of 4.3 TB/s for 264 blocks. Projected.
const ROUND: u64 = 32 << 10;

/// Which products are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Both.
    Fused = 0,
    /// Those with A.
    Shrink = 1,
    /// Those with B, from those with A.
    Expand = 2,
}

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The products.
    pub form: Form,
    /// Elements of a row of x.
    pub h1: usize,
    /// Elements of a row of the result.
    pub h2: usize,
    /// Segments that have rows.
    pub segments: Vec<Segment>,
}

/// Rows, and the entries of their adapter, one for each of its ranks; none without an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The rows.
    pub rows: Range<usize>,
    /// The entries.
    pub entries: Range<usize>,
}

impl Problem {
    /// The problem of a batch.
    pub fn of(form: Form, batch: &Batch<'_>) -> Problem {
        let segments = batch.segments.iter().filter(|segment| !segment.rows.is_empty());
        let segments = segments.map(|of| Segment { rows: of.rows.clone(), entries: batch.entries(of) });
        Problem { form, h1: batch.h1, h2: batch.h2, segments: segments.collect() }
    }

    /// Bytes of memory that an item touches: weights, rows of x and of v, and of y and the result.
    fn bytes(&self, item: &Segment) -> u64 {
        let (rows, ranks) = (item.rows.len() as u64, item.entries.len() as u64);
        let (h1, h2) = (self.h1 as u64, self.h2 as u64);
        let with = u64::from(ranks > 0);
        let (shrink, expand) = (2 * h1 * (ranks + with * rows), 2 * h2 * (ranks + 2 * rows));
        match self.form {
            Form::Fused => shrink + expand,
            Form::Shrink => shrink + 4 * rows * ranks,
            Form::Expand => 4 * rows * ranks + expand,
        }
    }
}

/// What a plan may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Blocks that run at once.
    pub blocks: usize,
    /// Blocks of a cluster at most: 1, 2, 4 or 8.
    pub cluster: usize,
}

impl Resources {
    /// Those of a device: two blocks a multiprocessor, and clusters where it has them.
    pub fn of(facts: &Facts) -> Resources {
        Resources { blocks: 2 * facts.shares(), cluster: if facts.capability.0 >= 9 { 8 } else { 1 } }
    }
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Blocks of a cluster.
    pub cluster: usize,
    /// All items, by clusters.
    pub items: Vec<Segment>,
    /// Where the items of each cluster begin, and the end.
    pub lists: Vec<usize>,
    /// Pairs of the item that has most.
    pub pairs: usize,
    /// Ranks of the item that has most.
    pub ranks: usize,
    /// What a block of each cluster has to do, in bytes.
    pub loads: Vec<u64>,
}

/// Pairs of 16 rows and 16 ranks of an item.
fn pairs(item: &Segment) -> usize {
    item.rows.len().div_ceil(SIDE) * item.entries.len().div_ceil(SIDE)
}

impl Plan {
    /// The schedule of a problem.
    ///
    /// # Errors
    /// Exhausted: more than [`MOST_ITEMS`] items. Unsupported: an adapter of more than [`MOST_RANKS`] ranks, or rows, entries or
    /// elements beyond 31 bits.
    pub fn new(problem: &Problem, resources: Resources) -> Result<Plan> {
        let items = items(problem)?;
        let sizes = [1, 2, 4, 8].into_iter().filter(|&size| size == 1 || size <= resources.cluster);
        let plans = sizes.map(|cluster| Plan::of(problem, &items, resources.blocks, cluster));
        // Among equals the first, with the smallest clusters.
        let best = plans.min_by_key(|plan| plan.loads.iter().copied().max().unwrap_or(0));
        best.ok_or_else(|| GpuError::Invalid("there is no size of clusters".into()))
    }

    /// The schedule with clusters of that size.
    fn of(problem: &Problem, items: &[Segment], blocks: usize, cluster: usize) -> Plan {
        let cost = |item: &Segment| {
            let sums = if problem.form == Form::Expand { 0 } else { cluster * pairs(item) * 1024 };
            problem.bytes(item).div_ceil(cluster as u64) + sums as u64 + ROUND
        };
        let mut order: Vec<(u64, &Segment)> = items.iter().map(|item| (cost(item), item)).collect();
        // The longest first, so that what comes last is small; among equals, neighbours stay together.
        order.sort_by_key(|&(cost, _)| std::cmp::Reverse(cost));
        let clusters = (blocks / cluster).clamp(1, items.len().max(1));
        let mut balance = Balance::new(clusters);
        let mut placed = vec![Vec::new(); clusters];
        order.into_iter().for_each(|(cost, item)| placed[balance.assign(cost)].push(item.clone()));
        let mut lists = vec![0];
        for list in &placed {
            lists.push(lists.last().copied().unwrap_or(0) + list.len());
        }
        Plan {
            cluster,
            pairs: items.iter().map(pairs).max().unwrap_or(0),
            ranks: items.iter().map(|item| item.entries.len()).max().unwrap_or(0),
            items: placed.concat(),
            lists,
            loads: balance.loads().to_vec(),
        }
    }

    /// Clusters that the kernel is launched with.
    pub fn clusters(&self) -> usize {
        self.lists.len() - 1
    }

    /// Bytes of shared memory of a block: sums of two items, those of warps, products in two parts, and pages.
    pub fn shared(&self) -> usize {
        self.pairs * 3 * 1024 + 8 * 1024 + self.ranks * 4
    }

    /// The largest load over the mean.
    pub fn imbalance(&self) -> f64 {
        imbalance(&self.loads)
    }

    /// The word where the items begin, behind the lists: a multiple of four.
    pub fn items_at(&self) -> usize {
        self.lists.len().next_multiple_of(4)
    }

    /// The words that the kernel reads: lists, and [`ITEM_WORDS`] an item: first row, rows, first entry, ranks.
    pub fn words(&self) -> Vec<i32> {
        // All are below 2^31, as rows and entries were checked and items are few.
        let mut words: Vec<i32> = self.lists.iter().map(|&begin| begin as i32).collect();
        words.resize(self.items_at(), 0);
        let of = |item: &Segment| [item.rows.start, item.rows.len(), item.entries.start, item.entries.len()];
        words.extend(self.items.iter().flat_map(|item| of(item).map(|word| word as i32)));
        words
    }
}

/// Segments in pieces of some rows.
fn items(problem: &Problem) -> Result<Vec<Segment>> {
    let most = i32::MAX as usize / 2;
    if [problem.h1, problem.h2].iter().any(|&elements| elements > most) {
        return Err(GpuError::Unsupported(format!("rows of {} and {} elements", problem.h1, problem.h2)));
    }
    let mut items = Vec::new();
    for Segment { rows, entries } in &problem.segments {
        if entries.len() > MOST_RANKS {
            let text = format!("an adapter of rank {}: the kernel is for ranks up to {MOST_RANKS}", entries.len());
            return Err(GpuError::Unsupported(text));
        }
        if rows.end > most || entries.end > most {
            return Err(GpuError::Unsupported(format!("rows {rows:?} or entries {entries:?} are beyond 31 bits")));
        }
        let groups = entries.len().div_ceil(SIDE).max(1);
        let size = (MOST_PAIRS / groups).max(1) * SIDE;
        let size = size.min(MOST_ROWS);
        if items.len() + rows.len().div_ceil(size) > MOST_ITEMS {
            let text = format!("more than {MOST_ITEMS} pieces of segments; use smaller batches");
            return Err(GpuError::Exhausted(text));
        }
        let begins = rows.clone().step_by(size);
        items.extend(
            begins.map(|begin| Segment { rows: begin..(begin + size).min(rows.end), entries: entries.clone() }),
        );
    }
    Ok(items)
}
