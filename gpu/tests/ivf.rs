//! Retrieval: the laws of its plans, and that halves of a scan merge to the whole.

mod place;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tandem_gpu::ivf::lookahead::{after, cooled};
use tandem_gpu::ivf::plan::WARPS;
use tandem_gpu::ivf::{Budget, Cached, Plan, Problem, Resources, look_ahead, split};
use tandem_gpu::schedule::imbalance;
use tandem_gpu::{Device, GpuError, Simulation, kernels};
use tandem_ops::cpu::{self, Level};
use tandem_ops::def::{Dims, Kernel, Random, Sample, Tensors, accept, conform};
use tandem_ops::ivf::{Corpus, nearest};
use tandem_ops::operation;
use tandem_tensor::{Element, Tensor};

fn subset(random: &mut Random, of: usize, most: usize) -> Vec<usize> {
    let mut all: Vec<usize> = (0..of).collect();
    for at in (1..of).rev() {
        all.swap(at, random.within(0, at + 1));
    }
    all.truncate(random.within(0, most.min(of) + 1));
    all
}

fn problem(random: &mut Random) -> Problem {
    let lists = random.within(1, 30);
    let mut at = 0;
    let lists: Vec<_> = (0..lists)
        .map(|_| {
            // Lists of a pool need not follow each other.
            let begin = at + random.within(0, 3);
            at = begin + [0, random.within(0, 50), random.within(0, 2500)][random.within(0, 3)];
            begin..at
        })
        .collect();
    let probes = (0..random.within(0, 12)).map(|_| subset(random, lists.len(), 20)).collect();
    Problem { lists, probes, k: [1, 10, 100, 1000][random.within(0, 4)] }
}

#[test]
fn a_plan_scans_every_vector_of_every_probed_list_once_for_each_query_and_leaves_no_candidate_place_unwritten() {
    let mut random = Random::new(1);
    for _ in 0..200 {
        let problem = problem(&mut random);
        let resources = Resources {
            blocks: random.within(1, 20),
            queries: random.within(1, 9),
            rows: [16, 32][random.within(0, 2)],
        };
        let plan = Plan::new(&problem, resources).unwrap();
        assert_eq!(plan, Plan::new(&problem, resources).unwrap());
        assert_eq!((plan.lists.len(), plan.lists[plan.lists.len() - 1]), (resources.blocks + 1, plan.items.len()));
        let mut scanned: HashMap<usize, Vec<(usize, usize)>> = HashMap::new();
        let mut written = vec![false; plan.candidates[problem.probes.len()]];
        for item in &plan.items {
            assert!(!item.vectors.is_empty() && !item.pairs.is_empty() && item.pairs.len() <= resources.queries);
            let kept = resources.kept(item.vectors.len(), problem.k);
            // No warp has more vectors than places, unless it has k places.
            let most = item.vectors.len().div_ceil(WARPS * resources.rows) * resources.rows;
            assert!(kept == problem.k || kept == most && most < problem.k);
            for pair in &plan.pairs[item.pairs.clone()] {
                scanned.entry(pair.query).or_default().push((item.vectors.start, item.vectors.end));
                let own = pair.candidates..pair.candidates + WARPS * kept;
                assert!(plan.candidates[pair.query] <= own.start && own.end <= plan.candidates[pair.query + 1]);
                own.for_each(|at| assert!(!std::mem::replace(&mut written[at], true), "a place is written twice"));
            }
        }
        assert!(written.iter().all(|written| *written));
        for (query, probes) in problem.probes.iter().enumerate() {
            let vectors = |ranges: Vec<(usize, usize)>| {
                let mut all: Vec<usize> = ranges.into_iter().flat_map(|(begin, end)| begin..end).collect();
                all.sort_unstable();
                all
            };
            let expected = probes.iter().map(|&list| (problem.lists[list].start, problem.lists[list].end));
            assert_eq!(vectors(scanned.remove(&query).unwrap_or_default()), vectors(expected.collect()));
        }
    }
}

#[test]
fn lists_of_unlike_sizes_keep_all_blocks_at_work() {
    let mut random = Random::new(2);
    let corpus = Corpus::new(1 << 20, 1, 1024, 1.0, &mut random);
    let mut at = 0;
    let lists = corpus.sizes.iter().map(|&size| {
        at += size;
        at - size..at
    });
    let lists: Vec<_> = lists.collect();
    for queries in [1, 16] {
        let probes = (0..queries).map(|_| (0..1024).collect()).collect();
        let problem = Problem { lists: lists.clone(), probes, k: 10 };
        let plan = Plan::new(&problem, Resources { blocks: 264, queries: 3, rows: 16 }).unwrap();
        assert!(plan.imbalance() < 1.05, "{queries}: {}", plan.imbalance());
        assert_eq!(plan.imbalance(), imbalance(&plan.loads));
    }
}

#[test]
fn more_candidates_than_a_kernel_counts_are_refused() {
    let lists = vec![0..1 << 30, 0..0];
    let resources = Resources { blocks: 4, queries: 1, rows: 16 };
    let problem = Problem { lists, probes: vec![vec![0]; 400_000], k: 1024 };
    assert!(matches!(Plan::new(&problem, resources), Err(GpuError::Unsupported(_))));
    let beyond = Problem { lists: vec![0..1 << 31, 0..0], probes: vec![vec![0]], k: 1 };
    assert!(matches!(Plan::new(&beyond, resources), Err(GpuError::Unsupported(_))));
}

/// Sizes of lists, a cache, and lists that queries want.
struct Case {
    bytes: Vec<u64>,
    cache: Vec<Cached>,
    wanted: Vec<Vec<usize>>,
    budget: Budget,
}

fn case(random: &mut Random) -> Case {
    let lists = random.within(1, 40);
    let bytes: Vec<u64> = (0..lists).map(|_| random.within(0, 100) as u64).collect();
    let pool = random.within(0, 2000) as u64;
    let mut room = pool;
    let mut cache = Vec::new();
    for list in subset(random, lists, lists) {
        if bytes[list] <= room {
            room -= bytes[list];
            cache.push(Cached { list, hotness: random.within(0, 4) as f32 });
        }
    }
    let wanted = (0..random.within(0, 6)).map(|_| subset(random, lists, lists)).collect();
    Case { bytes, cache, wanted, budget: Budget { copy: random.within(0, 1000) as u64, pool } }
}

#[test]
fn a_look_ahead_keeps_its_budgets_evicts_nothing_that_it_needs_and_the_coldest_only() {
    let mut random = Random::new(3);
    let mut evicted = 0;
    for _ in 0..3000 {
        let Case { bytes, cache, wanted, budget } = case(&mut random);
        let plan = look_ahead(&wanted, &bytes, &cache, budget);
        assert_eq!(plan, look_ahead(&wanted, &bytes, &cache, budget));
        let size = |lists: &[usize]| lists.iter().map(|&list| bytes[list]).sum::<u64>();
        assert!(size(&plan.copy) <= budget.copy);
        let pool = after(&plan, &cache);
        let held: Vec<usize> = pool.iter().map(|entry| entry.list).collect();
        assert!(size(&held) <= budget.pool, "{plan:?}");
        let there: HashSet<usize> = held.iter().copied().collect();
        assert_eq!(there.len(), held.len(), "a list is in the pool twice");
        assert!(plan.copy.iter().chain(&plan.keep).all(|list| there.contains(list)));
        let before: HashSet<usize> = cache.iter().map(|entry| entry.list).collect();
        assert!(plan.evict.iter().all(|list| before.contains(list) && !plan.keep.contains(list)));
        assert!(
            plan.copy.iter().all(|list| !before.contains(list)) && plan.keep.iter().all(|list| before.contains(list))
        );
        // Whoever stays without being needed is at least as hot as whoever left, and without the last the rest would not fit.
        let hotness = |list: usize| cache.iter().find(|entry| entry.list == list).unwrap().hotness;
        let idle = held.iter().filter(|list| before.contains(list) && !plan.keep.contains(list));
        if let Some(&last) = plan.evict.last() {
            evicted += 1;
            assert!(idle.clone().all(|&list| hotness(list) >= hotness(last)));
            assert!(size(&held) + bytes[last] > budget.pool, "a list left for no reason");
        }
        // What the queries want and is not there did not fit in what was left when its turn came, nor does it now.
        for list in wanted.iter().flatten().filter(|list| !there.contains(list)) {
            let needed = size(&plan.copy) + size(&plan.keep);
            assert!(size(&plan.copy) + bytes[*list] > budget.copy || needed + bytes[*list] > budget.pool, "{list}");
        }
    }
    assert!(evicted > 300, "{evicted}");
}

#[test]
fn queries_of_a_batch_take_turns_in_the_order_of_their_scores() {
    let wanted = [vec![3, 1, 0], vec![2, 3, 4], vec![3]];
    let cache = [Cached { list: 4, hotness: 0.5 }, Cached { list: 5, hotness: 9.0 }, Cached { list: 6, hotness: 0.5 }];
    let bytes = [10; 7];
    let plan = look_ahead(&wanted, &bytes, &cache, Budget { copy: 30, pool: 50 });
    assert_eq!((plan.copy, plan.keep, plan.evict), (vec![3, 2, 1], vec![4], vec![6]));
    // With room for two, the first of either query, whatever else the first would like.
    let plan = look_ahead(&wanted, &bytes, &cache, Budget { copy: 20, pool: 70 });
    assert_eq!((plan.copy, plan.keep, plan.evict), (vec![3, 2], vec![4], vec![]));
    // A list that no query has a size for is nobody's.
    let plan = look_ahead(&[vec![99, 0]], &bytes, &[Cached { list: 77, hotness: 1.0 }], Budget { copy: 10, pool: 10 });
    assert_eq!((plan.copy, plan.keep, plan.evict), (vec![0], vec![], vec![]));
}

#[test]
fn hotness_decays_grows_with_hits_and_the_coldest_leave() {
    let cache = [Cached { list: 0, hotness: 8.0 }, Cached { list: 1, hotness: 1.0 }, Cached { list: 2, hotness: 1.0 }];
    let probes = [vec![1, 3], vec![1]];
    let (kept, left) = cooled(&cache, &probes, 0.5, &[10, 10, 10, 10], 20);
    assert_eq!(left, [2]);
    assert_eq!(kept, [Cached { list: 0, hotness: 4.0 }, Cached { list: 1, hotness: 2.5 }]);
}

#[test]
fn every_list_of_every_query_is_scanned_on_one_side() {
    let mut random = Random::new(4);
    for _ in 0..500 {
        let Case { bytes, cache, wanted, .. } = case(&mut random);
        let sides = split(&wanted, bytes.len(), &cache);
        let pool: HashSet<usize> = cache.iter().map(|entry| entry.list).collect();
        for (query, wanted) in wanted.iter().enumerate() {
            assert!(sides.device[query].iter().all(|list| pool.contains(list)));
            assert!(sides.host[query].iter().all(|list| !pool.contains(list)));
            let mut all = [&sides.device[query][..], &sides.host[query]].concat();
            let mut expected = wanted.clone();
            all.sort_unstable();
            expected.sort_unstable();
            assert_eq!(all, expected);
        }
    }
}

fn probed(inputs: &Tensors, probes: &[Vec<usize>]) -> Tensors {
    let ends = probes.iter().scan(0, |end, lists| {
        *end += lists.len() as i32;
        Some(*end)
    });
    let begins: Vec<i32> = std::iter::once(0).chain(ends).collect();
    let all: Vec<i32> = probes.iter().flatten().map(|&list| list as i32).collect();
    let vector = |all: Vec<i32>| Tensor::from_vec([all.len()], all).unwrap();
    inputs.clone().with("probe_begin", vector(begins)).with("probe", vector(all))
}

fn run(kernel: &dyn Kernel, dims: &Dims, inputs: &Tensors) -> Tensors {
    let choices = dims.clone();
    let dims = accept(kernel.operation(), &choices, inputs).unwrap();
    kernel.run(&dims, inputs).unwrap()
}

/// Two results one after the other, as parts.
fn parts<T: Element>(results: [&Tensors; 2], port: &str, q: usize, k: usize) -> Tensor {
    let all = results.iter().flat_map(|results| results.slice::<T>(port).unwrap().to_vec()).collect();
    Tensor::from_vec([2, q, k], all).unwrap()
}

/// A look-ahead for queries before they are rewritten, the scan of the rewritten ones by both sides, and the merged result.
fn halves<T: Element>(name: &str, device: &[Box<dyn Kernel>], seed: u64) {
    let of = |name: &str| device.iter().find(|kernel| kernel.operation().def().name == name).unwrap();
    let scan = operation(name).unwrap();
    let (q, k, lists, d) = (3, 7, 12, 24);
    let extents =
        [("n", 400), ("d", d), ("lists", lists), ("q", q), ("k", k), ("nprobe", 6), ("metric", seed as usize % 2)];
    let dims =
        extents.into_iter().fold(Dims::defaults(scan.def().axes), |dims, (axis, extent)| dims.with(axis, extent));
    let inputs = scan.sample("ties", &dims, seed).unwrap();
    let mut random = Random::new(seed);
    let begins = inputs.slice::<i32>("list_begin").unwrap();
    let bytes: Vec<u64> = begins.windows(2).map(|pair| (pair[1] - pair[0]) as u64 * d as u64).collect();
    let corpus = Corpus::new(400, d, lists, 1.0, &mut random);
    let drawn = corpus.queries(q, 1.0, &mut random);
    let order = |queries: &[f32], count| -> Vec<Vec<usize>> {
        corpus.centroid_scores(queries).chunks_exact(lists).map(|scores| nearest(scores, count)).collect()
    };
    let budget = Budget { copy: bytes.iter().sum::<u64>() / 2, pool: bytes.iter().sum::<u64>() / 2 };
    let pool = after(&look_ahead(&order(&drawn.original, lists), &bytes, &[], budget), &[]);
    let probes = order(&drawn.rewritten, 6);
    let sides = split(&probes, lists, &pool);
    assert!(sides.device.iter().any(|lists| !lists.is_empty()) && sides.host.iter().any(|lists| !lists.is_empty()));

    let host = cpu::kernel(name, Level::best()).unwrap();
    let first = run(&**of(name), &dims, &probed(&inputs, &sides.device));
    let second = run(&*host, &dims, &probed(&inputs, &sides.host));
    let merge = if name == "ivf_scan.i8" { "topk_merge.i32" } else { "topk_merge.f32" };
    let both = Tensors::new()
        .with("part_scores", parts::<T>([&first, &second], "scores", q, k))
        .with("part_best", parts::<i32>([&first, &second], "best", q, k));
    let choices =
        Dims::defaults(operation(merge).unwrap().def().axes).with("parts", 2).with("q", q).with("m", k).with("k", k);
    let whole = run(&*host, &dims, &probed(&inputs, &probes));
    for merge in [&**of(merge), &*cpu::kernel(merge, Level::best()).unwrap()] {
        let merged = run(merge, &choices, &both);
        for port in ["scores", "best"] {
            let (merged, whole) = (merged.get(port).unwrap(), whole.get(port).unwrap());
            assert_eq!(merged.to_le_bytes(), whole.to_le_bytes(), "{name} {port}, seed {seed}");
        }
    }
}

#[test]
fn what_device_and_host_find_merges_to_what_one_of_them_would_find() {
    for seed in 0..20 {
        let kernels = cpu::kernels(Level::Portable);
        halves::<i32>("ivf_scan.i8", &kernels, seed);
        halves::<f32>("ivf_scan.bf16", &kernels, seed);
        halves::<f32>("ivf_scan.f32", &kernels, seed);
    }
    let Some(compiler) = place::compiler() else { return };
    for seed in 0..4 {
        let kernels = kernels(&Device::sim(Arc::clone(&compiler), Simulation::seeded(seed)));
        halves::<i32>("ivf_scan.i8", &kernels, seed);
        halves::<f32>("ivf_scan.bf16", &kernels, seed);
        halves::<f32>("ivf_scan.f32", &kernels, seed);
    }
}

const NAMES: [&str; 5] = ["ivf_scan.i8", "ivf_scan.bf16", "ivf_scan.f32", "topk_merge.i32", "topk_merge.f32"];

/// Scans and merges of shapes and contents at random.
fn agree(kernels: &[Box<dyn Kernel>], rounds: u64, context: &str) {
    for kernel in kernels.iter().filter(|kernel| NAMES.contains(&kernel.operation().def().name)) {
        let def = kernel.operation().def();
        let mut random = Random::new(rounds);
        for seed in 0..rounds {
            let k = [random.within(1, 12), random.within(1, 200), 1024][random.within(0, 3)];
            let (name, extents) = if def.name.starts_with("topk") {
                let name = ["random", "ties", "partly_nothing", "extremes"][random.within(0, 4)];
                let extents = [("parts", 12), ("q", 5), ("m", 90)].map(|(axis, most)| (axis, random.within(0, most)));
                (name, extents.to_vec())
            } else {
                let name = ["random", "ties", "ragged_probes", "extremes"][random.within(0, 4)];
                let step = [1, 4, 16][random.within(0, 3)];
                let d = random.within(0, 200 / step) * step;
                let (q, lists) = (random.within(0, 12), random.within(1, 20));
                let extents = [("n", random.within(0, 900)), ("d", d), ("lists", lists), ("q", q)];
                let more = [("nprobe", random.within(0, 10)), ("metric", random.within(0, 2))];
                (name, [&extents[..], &more].concat())
            };
            let sample = Sample::new(def, name, &[&extents[..], &[("k", k)]].concat());
            let context = format!("{context} {} {name} {}", def.name, sample.dims);
            let verdict = conform(&**kernel, &sample, seed).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(verdict.agrees, "{context}: {:?}", verdict.results);
        }
    }
}

#[test]
fn scans_and_merges_of_random_shapes_agree_with_the_reference_in_every_bit() {
    for level in Level::ALL.into_iter().filter(|level| level.available()) {
        agree(&cpu::kernels(level), 20, &level.to_string());
    }
    let Some(compiler) = place::compiler() else { return };
    agree(&kernels(&Device::sim(Arc::clone(&compiler), Simulation::seeded(5))), 8, "simulator");
}
