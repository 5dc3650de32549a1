//! Bugs in kernels that cluster keys and choose among them.

use super::{Bug, Subject, differs, kernel};
use crate::device::Device;
use crate::tactic::{KMEANS, TACTIC};
use tandem_ops::OpError;

pub(super) fn subjects() -> Vec<Subject> {
    vec![
        Subject { name: "kmeans", source: &KMEANS, exercise: clusters, bugs: CLUSTER_BUGS },
        Subject { name: "tactic", source: &TACTIC, exercise: choice, bugs: CHOICE_BUGS },
        Subject { name: "tactic of computed keys", source: &TACTIC, exercise: computed, bugs: COMPUTED_BUGS },
    ]
}

/// Several tiles of centroids, the last of which has an odd number, and keys that are no whole block.
fn clusters(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("n", 150), ("clusters", 37), ("hkv", 2), ("d", 40), ("iterations", 2)];
    differs(&*kernel(device, "kmeans.bf16")?, "ties", &extents, seed)
}

/// Requests whose lists end in the middle of a word and whose budgets lie behind the head.
fn choice(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 2), ("n", 900), ("hq", 4), ("hkv", 2), ("d", 32), ("late", 30)];
    differs(&*kernel(device, "tactic_select.bf16")?, "usual", &extents, seed)
}

/// Few keys, all of which are computed.
fn computed(device: &Device, seed: u64) -> Result<Option<String>, OpError> {
    let extents = [("b", 2), ("n", 200), ("head", 300), ("hq", 2), ("hkv", 1), ("d", 32), ("late", 60)];
    differs(&*kernel(device, "tactic_select.bf16")?, "usual", &extents, seed)
}

const CLUSTER_BUGS: &[Bug] = &[
    Bug {
        name: "no barrier before the next centroids",
        wrong: "centroids are overwritten while slower teams compare with them",
        edits: &[("        // Those of before are read no more.\n        __syncthreads();\n", "")],
    },
    Bug {
        name: "no barrier behind the centroids",
        wrong: "a team compares with centroids that others have not written yet",
        edits: &[("        __syncthreads();\n        for (int number = 0;", "        for (int number = 0;")],
    },
    Bug {
        name: "the last of equally near centroids",
        wrong: "the definition takes the first",
        edits: &[("if (score > best[i])", "if (score >= best[i])")],
    },
    Bug {
        name: "keys beyond the end count",
        wrong: "labels behind the last are those of other keys",
        edits: &[("key < n && labels[(i64)head * n + key] == cluster", "labels[(i64)head * n + key] == cluster")],
    },
    Bug {
        name: "clusters without keys move",
        wrong: "they move to no number at all",
        edits: &[("        if (count == 0) return;\n", "")],
    },
    Bug {
        name: "members of one head for all",
        wrong: "each head has its own clusters",
        edits: &[("    labels += (i64)head * n;\n", "")],
    },
];

const CHOICE_BUGS: &[Bug] = &[
    Bug {
        name: "no barrier before centroids are scored",
        wrong: "the query is not complete yet",
        edits: &[("order[at] = NOTHING;\n    __syncthreads();\n", "order[at] = NOTHING;\n")],
    },
    Bug {
        name: "no barrier between steps of the sort",
        wrong: "a step compares what the step before has yet to write",
        edits: &[("            __syncthreads();\n            for (int pair", "            for (int pair")],
    },
    Bug {
        name: "no barrier behind the places of clusters",
        wrong: "a place is looked up among places that others have not written yet",
        edits: &[("    }\n    __syncthreads();\n    // The slot at", "    }\n    // The slot at")],
    },
    Bug {
        name: "no barrier before the next sum",
        wrong: "parts of the sum before are overwritten while slower warps add them up",
        edits: &[("    // Sums of before are read no more.\n    __syncthreads();\n", "")],
    },
    Bug {
        name: "no barrier behind the budget",
        wrong: "warps mark slots by a budget of which they know nothing",
        edits: &[("    __syncthreads();\n    const auto ask =", "    const auto ask =")],
    },
    Bug {
        name: "bits are stored",
        wrong: "slots that other threads mark in the same word are lost",
        edits: &[("atomicOr(&asked[number / 32], 1u << (number % 32));", "asked[number / 32] |= 1u << (number % 32);")],
    },
    Bug {
        name: "one head speaks for its group",
        wrong: "what the others ask for is left out",
        edits: &[("for (int query = 0; query < group; query++) word", "for (int query = 0; query < 1; query++) word")],
    },
    Bug {
        name: "the law is flat",
        wrong: "the second window has weights of its own",
        edits: &[("tail(begin1, sum1, begin2, sum2, window);", "tail(begin1, sum1, begin2, sum1, window);")],
    },
];

const COMPUTED_BUGS: &[Bug] = &[
    Bug {
        name: "fresh keys are all taken",
        wrong: "they weigh no more than others",
        edits: &[("        ask(number < fresh ?", "        if (i < fresh) ask(i);\n        ask(number < fresh ?")],
    },
    Bug {
        name: "in the order of their clusters",
        wrong: "the heaviest keys come first, whatever their cluster",
        edits: &[("    sort(heaviest, ranks);\n", "    __syncthreads();\n")],
    },
];
