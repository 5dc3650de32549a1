//! Which block computes what: a schedule of attention for persistent blocks, made from lengths alone.
//!
//! Rows of a request and the heads of queries that share a head of keys are packed, and cut into tiles: large ones where a
//! request has more than [`SMALL`] packed rows, small ones elsewhere. The two are tasks of two kernels with blocks of their own. What
//! a tile sees of the keys is cut into chunks where it is more than a block's fair share of the task, so that one long request does
//! not keep one block busy while the others are done. Chunks of one tile leave partial states, which are merged in the order of the
//! positions; what is in one piece is written through. Nothing depends on timing.
//!
//! # Bounds
//! A fair share is at least a task's sum over its blocks, and a tile is split only where it exceeds its share. So there are at most
//! `4 blocks` chunks of large tiles, the share of which is halved, and `2 blocks` of small ones, and
//! [`Maxima::partial_rows`] is enough whatever the lengths are. A workspace of that size serves every batch, and its parts never
//! move: launches can be captured once and replayed for other plans.
//!
//! # Source
//! The balanced scheduler of Ye et al., arXiv 2501.01005, section 3.3, but that the longest pieces are handed out first.

use crate::error::{GpuError, Result};
use crate::schedule::{Balance, imbalance};
use std::ops::Range;
use tandem_ops::attention::{Batch, Span};

/// Packed rows of a small tile.
pub const SMALL: usize = 16;
/// Words of 32 bits of a request and of an item in a workspace.
pub const REQUEST_WORDS: usize = 8;
/// As above.
pub const ITEM_WORDS: usize = 8;
/// The least positions of a chunk of a tile that is split: whole runs of any kernel.
const LEAST: usize = 128;
/// Items that a workspace has room for.
pub const MOST_ITEMS: usize = 65_536;

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Heads of queries to a head of keys.
    pub group: usize,
    /// Heads of queries.
    pub q_heads: usize,
    /// Requests of all levels.
    pub requests: Vec<Request>,
    /// Levels whose states merge.
    pub levels: usize,
}

/// A request of a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its rows of queries.
    pub rows: Range<usize>,
    /// Its positions.
    pub kv: usize,
    /// Its first entry in the table of all levels, or its first line where there is none.
    pub first: usize,
    /// Its heads of keys.
    pub heads: Range<usize>,
    /// The byte where its mask begins.
    pub mask: usize,
    /// What rows see.
    pub span: Span,
}

impl Problem {
    /// The problem of batches whose states merge, and their tables in one.
    pub fn of(levels: &[Batch<'_>]) -> (Problem, Vec<i32>) {
        let mut problem = Problem { group: 1, q_heads: 0, requests: Vec::new(), levels: levels.len() };
        let mut table = Vec::new();
        for batch in levels {
            (problem.group, problem.q_heads) = (batch.group(), batch.q_heads);
            problem.requests.extend(batch.requests.iter().map(|request| Request {
                rows: request.rows.clone(),
                kv: request.kv,
                first: request.first + table.len(),
                heads: request.heads.clone(),
                mask: request.mask,
                span: batch.span,
            }));
            table.extend(batch.store.table.iter().flat_map(|table| table.iter().copied()));
        }
        (problem, table)
    }
}

/// What a plan may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Blocks that run at once, for each task.
    pub blocks: [usize; 2],
    /// Packed rows of a large tile; all tiles are small where this is no more than [`SMALL`].
    pub large: usize,
}

/// A piece of work: packed rows of a request and head of keys against a stretch of positions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Number of the request.
    pub request: usize,
    /// Head of keys.
    pub head: usize,
    /// Packed rows.
    pub packed: Range<usize>,
    /// Positions.
    pub positions: Range<usize>,
    /// The row of the partial states where its first is put; none where the results are final.
    pub partial: Option<usize>,
}

/// The size of a tile, and with it the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Many packed rows.
    Large = 0,
    /// At most [`SMALL`].
    Small = 1,
}

impl Task {
    /// Both, in the order of their kernels.
    pub const ALL: [Task; 2] = [Task::Large, Task::Small];
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it may use.
    pub resources: Resources,
    /// All work, first that of large tiles, then of small ones, and by blocks within these.
    pub items: Vec<Item>,
    /// For each task, where the items of each block begin, and the end.
    pub lists: [Vec<usize>; 2],
    /// The most positions of a chunk, for each task.
    pub limits: [usize; 2],
    /// For each row that is merged, where its partial states begin in `merge_entries`, and the end.
    pub merge_indptr: Vec<usize>,
    /// Rows of the partial states, in the order of their positions.
    pub merge_entries: Vec<usize>,
    /// The row of the result of each row that is merged: row times heads of queries, plus head.
    pub merge_rows: Vec<usize>,
    /// Rows of the partial states.
    pub partial_rows: usize,
    /// What each block of each task has to do: positions and twice the rows of the tile for each item.
    pub loads: [Vec<u64>; 2],
}

/// The most of everything in a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maxima {
    /// Blocks for each task; none where there are no such tiles, so that their kernel is not launched.
    pub blocks: [usize; 2],
    /// Requests.
    pub requests: usize,
    /// Items.
    pub items: usize,
    /// Rows of the partial states.
    pub partial_rows: usize,
}

/// Where the parts of a workspace begin, in words of 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How many rows are merged.
    pub merges: usize,
    /// [`REQUEST_WORDS`] a request: first row, rows, positions, first entry; mask, causal, window.
    pub requests: usize,
    /// For each task, where the items of each block begin, and the end.
    pub lists: [usize; 2],
    /// [`ITEM_WORDS`] an item: request, head, first packed row, rows; first position, end, row of partial states or -1.
    pub items: usize,
    /// See [`Plan::merge_indptr`].
    pub merge_indptr: usize,
    /// See [`Plan::merge_rows`].
    pub merge_rows: usize,
    /// See [`Plan::merge_entries`].
    pub merge_entries: usize,
    /// All words.
    pub words: usize,
}

impl Plan {
    /// The schedule of a problem.
    ///
    /// # Errors
    /// Exhausted: more than [`MOST_ITEMS`] items. Unsupported: lengths or rows beyond 31 bits.
    pub fn new(problem: &Problem, resources: Resources) -> Result<Plan> {
        let resources =
            Resources { blocks: resources.blocks.map(|blocks| blocks.max(1)), large: resources.large.max(SMALL) };
        let tiles = tiles(problem, resources)?;
        let shares = Task::ALL.map(|task| {
            let of = tiles.iter().filter(|tile| tile.task == task);
            let total: u128 = of.map(|tile| (tile.seen.len() * tile.heads) as u128).sum();
            share(total.div_ceil(resources.blocks[task as usize] as u128) as usize)
        });
        // Few large tiles are of lengths that causality makes unlike; half the share evens them out, unless heads alone do.
        let heads = problem.requests.iter().map(|request| request.heads.end).max().unwrap_or(1);
        let limits = [(shares[0] / heads.clamp(1, 2)).max(LEAST), shares[1]];

        let mut balances = resources.blocks.map(Balance::new);
        let mut placed: [Vec<Vec<Item>>; 2] = resources.blocks.map(|blocks| vec![Vec::new(); blocks]);
        let (mut count, mut partial_rows) = (0, 0);
        // For rows of the result that are merged, the states' request, first position and partial row.
        let mut partials = std::collections::BTreeMap::<usize, Vec<(usize, usize, usize)>>::new();
        for task in Task::ALL {
            let (limit, size) = (limits[task as usize], [resources.large, SMALL][task as usize]);
            let mut pieces = Vec::new();
            for tile in tiles.iter().filter(|tile| tile.task == task) {
                let request = &problem.requests[tile.request];
                let chunks = tile.seen.len().div_ceil(limit).max(1);
                count += chunks.saturating_mul(tile.heads);
                if count > MOST_ITEMS {
                    let text = format!("attention has more than {MOST_ITEMS} pieces of work; use smaller batches");
                    return Err(GpuError::Exhausted(text));
                }
                for chunk in 0..chunks {
                    let begin = tile.seen.start + chunk * limit;
                    let positions = begin..(begin + limit).min(tile.seen.end);
                    for head in request.heads.clone() {
                        // States of several levels merge, whether or not they are in one piece each.
                        let partial = (chunks > 1 || problem.levels > 1).then_some(partial_rows);
                        if let Some(first) = partial {
                            for (at, packed) in tile.packed.clone().enumerate() {
                                let row = request.rows.start + packed / problem.group;
                                let row = row * problem.q_heads + head * problem.group + packed % problem.group;
                                partials.entry(row).or_default().push((tile.request, begin, first + at));
                            }
                            partial_rows += tile.packed.len();
                        }
                        let (packed, positions) = (tile.packed.clone(), positions.clone());
                        pieces.push(Item { request: tile.request, head, packed, positions, partial });
                    }
                }
            }
            // The longest first, so that what comes last is small; among equals, neighbours stay together.
            pieces.sort_by_key(|piece| std::cmp::Reverse(piece.positions.len()));
            for piece in pieces {
                let block = balances[task as usize].assign((2 * size + piece.positions.len()) as u64);
                placed[task as usize][block].push(piece);
            }
        }
        let mut items = Vec::with_capacity(count);
        let lists = placed.map(|blocks| {
            let mut begins = vec![items.len()];
            for mut list in blocks {
                items.append(&mut list);
                begins.push(items.len());
            }
            begins
        });
        let mut merge_indptr = vec![0];
        let (mut merge_rows, mut merge_entries) = (Vec::new(), Vec::new());
        for (row, mut entries) in partials {
            entries.sort_unstable();
            merge_rows.push(row);
            merge_entries.extend(entries.into_iter().map(|(_, _, partial)| partial));
            merge_indptr.push(merge_entries.len());
        }
        let loads = balances.map(|balance| balance.loads().to_vec());
        Ok(Plan { resources, items, lists, limits, merge_indptr, merge_entries, merge_rows, partial_rows, loads })
    }

    /// The largest load over the mean, of the task where this is more.
    pub fn imbalance(&self) -> f64 {
        self.loads.iter().map(|loads| imbalance(loads)).fold(1.0, f64::max)
    }

    /// The least that holds this plan.
    pub fn least(&self, problem: &Problem) -> Maxima {
        let busy = |task: Task| self.lists[task as usize].first() != self.lists[task as usize].last();
        Maxima {
            blocks: Task::ALL.map(|task| if busy(task) { self.resources.blocks[task as usize] } else { 0 }),
            requests: problem.requests.len(),
            items: self.items.len(),
            partial_rows: self.partial_rows,
        }
    }

    /// The words of a workspace, of which those beyond what this plan needs are zero.
    ///
    /// # Errors
    /// Exhausted, where the workspace is too small.
    pub fn words(&self, problem: &Problem, maxima: &Maxima) -> Result<Vec<i32>> {
        let least = self.least(problem);
        let mut blocks = least.blocks.iter().zip(maxima.blocks);
        let fits = blocks.all(|(&least, most)| least == 0 || least == most)
            && least.requests <= maxima.requests
            && least.items <= maxima.items
            && least.partial_rows <= maxima.partial_rows;
        if !fits {
            return Err(GpuError::Exhausted(format!(
                "a plan that needs {least:?} does not fit a workspace of {maxima:?}"
            )));
        }
        let layout = maxima.layout();
        let mut words = vec![0i32; layout.words];
        // All of these are below 2^31: rows and lengths were checked, and counts are within the bounds of the workspace.
        let word = |number: usize| number as i32;
        words[layout.merges] = word(self.merge_rows.len());
        for (at, request) in problem.requests.iter().enumerate() {
            let all = [
                word(request.rows.start),
                word(request.rows.len()),
                word(request.kv),
                word(request.first),
                word(request.mask),
                i32::from(request.span.causal),
                // A window of all positions is none.
                word(request.span.window.unwrap_or(usize::MAX).min(i32::MAX as usize)),
                0,
            ];
            words[layout.requests + at * REQUEST_WORDS..][..REQUEST_WORDS].copy_from_slice(&all);
        }
        for task in Task::ALL.map(|task| task as usize).into_iter().filter(|&task| maxima.blocks[task] > 0) {
            let list = words[layout.lists[task]..].iter_mut().zip(&self.lists[task]);
            list.for_each(|(to, &begin)| *to = word(begin));
        }
        for (at, item) in self.items.iter().enumerate() {
            let all = [
                word(item.request),
                word(item.head),
                word(item.packed.start),
                word(item.packed.len()),
                word(item.positions.start),
                word(item.positions.end),
                item.partial.map_or(-1, word),
                0,
            ];
            words[layout.items + at * ITEM_WORDS..][..ITEM_WORDS].copy_from_slice(&all);
        }
        for (begin, from) in [
            (layout.merge_indptr, &self.merge_indptr),
            (layout.merge_rows, &self.merge_rows),
            (layout.merge_entries, &self.merge_entries),
        ] {
            words[begin..].iter_mut().zip(from).for_each(|(to, &number)| *to = word(number));
        }
        Ok(words)
    }
}

impl Maxima {
    /// Room for any batch of at most so many requests on one level.
    pub fn any(resources: Resources, requests: usize) -> Maxima {
        let partial_rows = 4 * resources.blocks[0] * resources.large + 2 * resources.blocks[1] * SMALL;
        Maxima { blocks: resources.blocks, requests, items: MOST_ITEMS, partial_rows }
    }

    /// Where the parts of the workspace are.
    pub fn layout(&self) -> Layout {
        let mut next = 0;
        // Parts begin at multiples of 16 bytes.
        let mut part = |words: usize| {
            let begin = next;
            next += words.next_multiple_of(4);
            begin
        };
        // Without splits by positions no row is merged from one state alone, so half as many rows are merged as there are
        // states; levels merge rows that may have one state each.
        let merges = self.partial_rows;
        Layout {
            merges: part(1),
            requests: part(self.requests * REQUEST_WORDS),
            lists: self.blocks.map(|blocks| part(blocks + 1)),
            items: part(self.items * ITEM_WORDS),
            merge_indptr: part(merges + 1),
            merge_rows: part(merges),
            merge_entries: part(self.partial_rows),
            words: next,
        }
    }
}

/// Packed rows of a request, for all its heads.
struct Tile {
    request: usize,
    task: Task,
    packed: Range<usize>,
    seen: Range<usize>,
    heads: usize,
}

fn tiles(problem: &Problem, resources: Resources) -> Result<Vec<Tile>> {
    let group = problem.group.max(1);
    let mut tiles = Vec::new();
    for (number, request) in problem.requests.iter().enumerate() {
        let rows = request.rows.len();
        let most =
            [rows.saturating_mul(group), request.kv, request.first, request.rows.end.saturating_mul(problem.q_heads)];
        if most.iter().any(|&number| number > i32::MAX as usize / 2) || request.mask > i32::MAX as usize {
            return Err(GpuError::Unsupported(format!("request {number} is beyond 31 bits")));
        }
        let task = if rows * group > SMALL && resources.large > SMALL { Task::Large } else { Task::Small };
        let size = if task == Task::Large { resources.large } else { SMALL };
        if (rows * group).div_ceil(size) * request.heads.len() > MOST_ITEMS {
            return Err(GpuError::Exhausted(format!("request {number} has more than {MOST_ITEMS} tiles")));
        }
        for begin in (0..rows * group).step_by(size) {
            let packed = begin..(begin + size).min(rows * group);
            let of = packed.start / group..(packed.end - 1) / group + 1;
            let seen = request.span.of_rows(of, rows, request.kv);
            tiles.push(Tile { request: number, task, packed, seen, heads: request.heads.len() });
        }
    }
    Ok(tiles)
}

/// A block's share, in steps so that plans of near lengths are alike.
fn share(fair: usize) -> usize {
    if fair <= LEAST { LEAST } else { fair.next_multiple_of(2 * LEAST) }
}
