//! Plans of attention: pure functions of lengths.

use std::collections::HashMap;
use tandem_gpu::GpuError;
use tandem_gpu::attention::plan::{MOST_ITEMS, Request, SMALL};
use tandem_gpu::attention::{Maxima, Plan, Problem, Resources};
use tandem_gpu::schedule::imbalance;
use tandem_ops::attention::Span;
use tandem_ops::def::Random;

fn span(random: &mut Random, kv: usize) -> Span {
    match random.within(0, 3) {
        0 => Span::ALL,
        1 => Span { causal: true, window: None },
        _ => Span { causal: true, window: Some(random.within(1, kv + 2)) },
    }
}

fn problem(random: &mut Random, round: usize) -> Problem {
    let (group, kv_heads) = (random.within(1, 9), random.within(1, 5));
    let levels = if round.is_multiple_of(5) { 2 } else { 1 };
    let mut requests = Vec::new();
    for _ in 0..levels {
        let mut row = 0;
        for _ in 0..random.within(1, 9) {
            let rows = [1, random.within(0, 5), random.within(0, 200)][random.within(0, 3)];
            let kv = [random.within(0, 40), random.within(0, 5000)][random.within(0, 2)];
            let span = span(random, kv);
            requests.push(Request { rows: row..row + rows, kv, first: 0, heads: 0..kv_heads, mask: 0, span });
            row += rows;
        }
        // Levels have the same rows in other parts.
        if levels == 2 {
            let rows = 40;
            requests.retain(|request| request.rows.end <= rows);
            let (end, kv) = (requests.last().map_or(0, |request| request.rows.end), 77);
            let end = if requests.iter().filter(|r| r.rows.start == 0 && !r.rows.is_empty()).count() > 1 {
                requests.iter().map(|request| request.rows.end).max().unwrap_or(end)
            } else {
                end
            };
            requests.push(Request {
                rows: end..rows.max(end),
                kv,
                first: 0,
                heads: 0..kv_heads,
                mask: 0,
                span: Span::ALL,
            });
        }
    }
    Problem { group, q_heads: group * kv_heads, requests, levels }
}

/// Every row and head of every request sees each of its positions in exactly one item.
fn covered(problem: &Problem, plan: &Plan) {
    let mut pieces: HashMap<(usize, usize, usize), Vec<(usize, usize)>> = HashMap::new();
    let mut partial = vec![false; plan.partial_rows];
    for item in &plan.items {
        for (at, packed) in item.packed.clone().enumerate() {
            let key = (item.request, item.head, packed);
            pieces.entry(key).or_default().push((item.positions.start, item.positions.end));
            if let Some(first) = item.partial {
                assert!(!std::mem::replace(&mut partial[first + at], true), "a partial row is written twice");
            }
        }
    }
    assert!(partial.iter().all(|written| *written), "a partial row is not written");
    for (number, request) in problem.requests.iter().enumerate() {
        let rows = request.rows.len();
        for head in request.heads.clone() {
            for packed in 0..rows * problem.group {
                let mut own = pieces.remove(&(number, head, packed)).expect("a row without an item");
                own.sort_unstable();
                let seen = request.span.positions(packed / problem.group, rows, request.kv);
                for pair in own.windows(2) {
                    assert_eq!(pair[0].1, pair[1].0, "chunks overlap or leave a gap");
                }
                if !seen.is_empty() {
                    assert!(own[0].0 <= seen.start && own[own.len() - 1].1 >= seen.end, "{own:?} {seen:?}");
                }
            }
        }
    }
    assert!(pieces.is_empty(), "items of no row");
}

/// Merged rows take every partial row once, in the order of the positions, and no row of the result is written by both ways.
fn merged(problem: &Problem, plan: &Plan) {
    let mut of = vec![None; plan.partial_rows];
    let mut direct = std::collections::HashSet::new();
    for item in &plan.items {
        for (at, packed) in item.packed.clone().enumerate() {
            let request = &problem.requests[item.request];
            let row = request.rows.start + packed / problem.group;
            let row = row * problem.q_heads + item.head * problem.group + packed % problem.group;
            match item.partial {
                Some(first) => of[first + at] = Some((row, item.request, item.positions.start)),
                None => assert!(direct.insert(row), "row {row} is written twice"),
            }
        }
    }
    let mut taken = vec![false; plan.partial_rows];
    assert_eq!(plan.merge_indptr.len(), plan.merge_rows.len() + 1);
    for (number, &row) in plan.merge_rows.iter().enumerate() {
        assert!(!direct.contains(&row));
        let entries = &plan.merge_entries[plan.merge_indptr[number]..plan.merge_indptr[number + 1]];
        assert!(entries.len() > 1 || problem.levels > 1);
        let mut before = None;
        for &entry in entries {
            assert!(!std::mem::replace(&mut taken[entry], true));
            let (owner, request, position) = of[entry].unwrap();
            assert_eq!(owner, row);
            assert!(before.is_none_or(|before| before < (request, position)), "states out of order");
            before = Some((request, position));
        }
    }
    assert!(taken.iter().all(|taken| *taken));
}

#[test]
fn everything_is_computed_exactly_once_and_loads_are_balanced() {
    let mut random = Random::new(12);
    let mut split = 0;
    for round in 0..400 {
        let problem = problem(&mut random, round);
        let resources =
            Resources { blocks: [random.within(1, 40), random.within(1, 40)], large: [64, 128][random.within(0, 2)] };
        let plan = Plan::new(&problem, resources).unwrap();
        covered(&problem, &plan);
        merged(&problem, &plan);
        assert_eq!(plan, Plan::new(&problem, resources).unwrap(), "not deterministic");
        split += usize::from(!plan.merge_rows.is_empty());

        for (task, size) in [(0, resources.large), (1, SMALL)] {
            let mut loads = vec![0u64; resources.blocks[task]];
            let mut most = 0;
            assert_eq!(plan.lists[task].len(), resources.blocks[task] + 1);
            for (block, ends) in plan.lists[task].windows(2).enumerate() {
                for item in &plan.items[ends[0]..ends[1]] {
                    let rows = problem.requests[item.request].rows.len() * problem.group;
                    assert_eq!(rows > SMALL, task == 0, "an item in the list of the other task");
                    assert!(item.packed.len() <= size && item.positions.len() <= plan.limits[task]);
                    let cost = (2 * size + item.positions.len()) as u64;
                    loads[block] += cost;
                    most = most.max(cost);
                }
            }
            assert_eq!(loads, plan.loads[task]);
            let mean = loads.iter().sum::<u64>() as f64 / loads.len() as f64;
            assert!(*loads.iter().max().unwrap() as f64 <= mean + most as f64);
            assert!(plan.imbalance() >= imbalance(&loads));
        }
        assert_eq!((plan.lists[0][0], plan.lists[0].last()), (0, plan.lists[1].first()));
        assert_eq!(plan.lists[1].last(), Some(&plan.items.len()));
        assert_eq!(plan.imbalance(), plan.loads.iter().map(|loads| imbalance(loads)).fold(1.0, f64::max));
        if problem.levels == 1 {
            let any = Maxima::any(resources, problem.requests.len());
            assert!(plan.partial_rows <= any.partial_rows, "{} of {}", plan.partial_rows, any.partial_rows);
            assert!(plan.merge_rows.len() * 2 <= plan.partial_rows);
        }
    }
    assert!(split > 100, "{split} plans with splits are too few");
}

#[test]
fn words_are_within_their_parts_whatever_the_plan() {
    let mut random = Random::new(3);
    for round in 0..60 {
        let problem = problem(&mut random, 5 * round + 1);
        let resources = Resources { blocks: [8, 16], large: 128 };
        let plan = Plan::new(&problem, resources).unwrap();
        let maxima = Maxima { items: 4096, ..Maxima::any(resources, 16) };
        let (layout, words) = (maxima.layout(), plan.words(&problem, &maxima).unwrap());
        assert_eq!(words.len(), layout.words);
        assert_eq!(words[layout.merges] as usize, plan.merge_rows.len());
        let item = plan.items.len().saturating_sub(1);
        if let Some(last) = plan.items.last() {
            let at = layout.items + item * 8;
            assert_eq!(words[at] as usize, last.request);
            assert_eq!(words[at + 5] as usize, last.positions.end);
            assert_eq!(words[at + 6], last.partial.map_or(-1, |row| row as i32));
        }
        assert_eq!(words[layout.lists[1] + 16] as usize, plan.items.len());
        assert_eq!(words[layout.lists[0] + 8], words[layout.lists[1]]);
        for part in
            [layout.requests, layout.lists[0], layout.lists[1], layout.items, layout.merge_indptr, layout.merge_rows]
        {
            assert!(part.is_multiple_of(4), "a part that is not aligned to 16 bytes");
        }
        let least = plan.least(&problem);
        plan.words(&problem, &least).unwrap();
        if least.items > 0 {
            let small = Maxima { items: least.items - 1, ..least };
            assert!(matches!(plan.words(&problem, &small), Err(GpuError::Exhausted(_))));
        }
    }
}

#[test]
fn skewed_lengths_are_as_balanced_as_equal_ones() {
    let resources = Resources { blocks: [132, 264], large: 128 };
    let of = |lengths: &[usize]| {
        let request = |(row, &kv): (usize, &usize)| Request {
            rows: row..row + 1,
            kv,
            first: 0,
            heads: 0..8,
            mask: 0,
            span: Span::ALL,
        };
        let requests = lengths.iter().enumerate().map(request).collect();
        Plan::new(&Problem { group: 4, q_heads: 32, requests, levels: 1 }, resources).unwrap()
    };
    let sum: f64 = (1..=16).map(|rank| 1.0 / f64::from(rank)).sum();
    let zipf: Vec<usize> = (1..=16).map(|rank| (16_384.0 / sum / f64::from(rank)) as usize).collect();
    let (equal, zipf) = (of(&[1024; 16]), of(&zipf));
    assert!(equal.imbalance() < 1.05 && zipf.imbalance() < 1.15, "{} {}", equal.imbalance(), zipf.imbalance());
    let long = of(&[200_000, 1000, 1000, 500, 8000, 16, 16, 16]);
    assert!(long.imbalance() < 1.01, "{}", long.imbalance());
    assert!(long.items.iter().filter(|item| item.request == 0).count() > 200);
}

#[test]
fn what_is_beyond_the_bounds_is_refused() {
    let request = |rows: usize, kv: usize| Request {
        rows: 0..rows,
        kv,
        first: 0,
        heads: 0..8,
        mask: 0,
        span: Span { causal: true, window: None },
    };
    let plan = |rows, kv| {
        let problem = Problem { group: 4, q_heads: 32, requests: vec![request(rows, kv)], levels: 1 };
        Plan::new(&problem, Resources { blocks: [132, 264], large: 128 })
    };
    assert!(plan(16_384, 16_384).unwrap().items.len() <= MOST_ITEMS);
    assert!(matches!(plan(1 << 22, 1 << 22), Err(GpuError::Exhausted(_))));
    assert!(matches!(plan(1, usize::MAX), Err(GpuError::Unsupported(_))));
    assert!(matches!(plan(usize::MAX, 5), Err(GpuError::Unsupported(_))));
}
