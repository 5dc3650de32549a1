//! Which block scans what: a schedule of lists for persistent blocks, made from lengths alone.
//!
//! Queries that probe a list are taken together, as many as a kernel scores at a time, and a list is cut into stretches where it is
//! more than a block's fair share. An item is a stretch with such queries; the warps of its block leave as many candidates for each
//! query as they can have kept, all candidates of a query next to each other, from which another kernel takes the best. Since
//! candidates have an order without ties, neither the cuts nor who scans what show in the result.

use crate::error::{GpuError, Result};
use crate::schedule::{Balance, imbalance};
use std::ops::Range;

/// Warps of a block.
pub const WARPS: usize = 8;
/// Words of 32 bits of an item and of a pair, as kernels read them.
pub const ITEM_WORDS: usize = 4;
/// As above.
pub const PAIR_WORDS: usize = 2;
/// What an item costs beside its vectors, in vectors: its queries, and the candidates at its end.
const ITEM_COST: u64 = 64;
/// The rounds of a stretch at least, where the list has as many.
const ROUNDS: usize = 4;

/// What a plan is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where vectors of each list lie; lists need not follow each other.
    pub lists: Vec<Range<usize>>,
    /// Lists that each query probes.
    pub probes: Vec<Vec<usize>>,
    /// Candidates that are kept for a query.
    pub k: usize,
}

/// What a plan may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Blocks that run at once.
    pub blocks: usize,
    /// Queries that a kernel scores at a time.
    pub queries: usize,
    /// Vectors that a warp scores at a time.
    pub rows: usize,
}

impl Resources {
    /// Vectors that a block scores at a time.
    fn round(&self) -> usize {
        WARPS * self.rows.max(1)
    }

    /// Candidates that each warp leaves of a stretch of so many vectors.
    pub fn kept(&self, vectors: usize, k: usize) -> usize {
        k.min(vectors.div_ceil(self.round()) * self.rows.max(1))
    }
}

/// A stretch of a list with some of its queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its vectors.
    pub vectors: Range<usize>,
    /// Its queries, in [`Plan::pairs`].
    pub pairs: Range<usize>,
}

/// A query of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Number of the query.
    pub query: usize,
    /// Where the candidates of the item's warps begin.
    pub candidates: usize,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it may use.
    pub resources: Resources,
    /// All work, by blocks.
    pub items: Vec<Item>,
    /// Where the items of each block begin, and the end.
    pub lists: Vec<usize>,
    /// Queries of the items.
    pub pairs: Vec<Pair>,
    /// Where the candidates of each query begin, and the end.
    pub candidates: Vec<usize>,
    /// What each block has to do: vectors and [`ITEM_COST`] for each item.
    pub loads: Vec<u64>,
}

impl Plan {
    /// The schedule of a problem.
    ///
    /// # Errors
    /// Unsupported: vectors, or candidates of all queries together, beyond 31 bits.
    pub fn new(problem: &Problem, resources: Resources) -> Result<Plan> {
        let resources = Resources { blocks: resources.blocks.max(1), queries: resources.queries.max(1), ..resources };
        let groups = groups(problem, resources.queries);
        let total: usize = groups.iter().map(|(list, _)| problem.lists[*list].len()).sum();
        let least = ROUNDS * resources.round();
        let limit = total.div_ceil(resources.blocks).max(least).next_multiple_of(resources.round());
        let mut stretches = Vec::new();
        for (list, queries) in &groups {
            let Range { start, end } = problem.lists[*list].clone();
            if end > i32::MAX as usize {
                return Err(GpuError::Unsupported(format!("a list that ends at vector {end} is beyond 31 bits")));
            }
            let cut = (start..end).step_by(limit);
            stretches.extend(cut.map(|first| (first..end.min(first.saturating_add(limit)), queries)));
        }
        // The longest first, so that what comes last is small; among equals, those of a list stay together and meet in the cache.
        stretches.sort_by_key(|(vectors, _)| std::cmp::Reverse(vectors.len()));

        let mut counts = vec![0usize; problem.probes.len()];
        for (vectors, queries) in &stretches {
            let room = WARPS * resources.kept(vectors.len(), problem.k);
            queries.iter().for_each(|&query| counts[query] = counts[query].saturating_add(room));
        }
        let mut candidates = vec![0usize];
        for count in counts {
            candidates.push(candidates[candidates.len() - 1].saturating_add(count));
        }
        let all = candidates[candidates.len() - 1];
        if all > i32::MAX as usize {
            let text = format!("{all} candidates of all queries are beyond 31 bits; use smaller batches");
            return Err(GpuError::Unsupported(text));
        }
        let mut next = candidates.clone();
        let mut balance = Balance::new(resources.blocks);
        let mut placed = vec![Vec::new(); resources.blocks];
        let mut pairs = Vec::new();
        for (vectors, queries) in stretches {
            let room = WARPS * resources.kept(vectors.len(), problem.k);
            let first = pairs.len();
            pairs.extend(queries.iter().map(|&query| {
                let candidates = next[query];
                next[query] += room;
                Pair { query, candidates }
            }));
            let block = balance.assign(vectors.len() as u64 + ITEM_COST);
            placed[block].push(Item { vectors, pairs: first..pairs.len() });
        }
        let mut items = Vec::new();
        let mut lists = vec![0];
        for mut list in placed {
            items.append(&mut list);
            lists.push(items.len());
        }
        let loads = balance.loads().to_vec();
        Ok(Plan { resources, items, lists, pairs, candidates, loads })
    }

    /// The largest load over the mean.
    pub fn imbalance(&self) -> f64 {
        imbalance(&self.loads)
    }

    /// Items as kernels read them: first vector, vectors, first pair, pairs.
    pub fn item_words(&self) -> Vec<i32> {
        let words = |item: &Item| {
            [item.vectors.start, item.vectors.len(), item.pairs.start, item.pairs.len()].map(|number| number as i32)
        };
        self.items.iter().flat_map(words).collect()
    }

    /// Pairs as kernels read them: query, first candidate.
    pub fn pair_words(&self) -> Vec<i32> {
        self.pairs.iter().flat_map(|pair| [pair.query, pair.candidates].map(|number| number as i32)).collect()
    }
}

/// Lists that are probed and not empty, each with so many of its queries at most.
fn groups(problem: &Problem, queries: usize) -> Vec<(usize, Vec<usize>)> {
    let mut of = vec![Vec::new(); problem.lists.len()];
    for (query, probes) in problem.probes.iter().enumerate() {
        probes.iter().filter(|&&list| !problem.lists[list].is_empty()).for_each(|&list| of[list].push(query));
    }
    let lists = of.iter().enumerate();
    lists.flat_map(|(list, own)| own.chunks(queries).map(move |some| (list, some.to_vec()))).collect()
}
