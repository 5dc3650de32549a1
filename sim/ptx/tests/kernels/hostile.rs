//! No text makes the parser or the executor panic, hang or take the machine's memory.

use tandem_ptx::{Launch, Memory, Module, Options, run};

use crate::results::{CLUSTER, MMA, REDUCE, VECTOR, WGMMA};

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

/// Words to put in the place of others.
const WORDS: &[&str] = &[
    "0",
    "1",
    "-1",
    "4294967295",
    "18446744073709551615",
    "%r1",
    "%rd1",
    "%p1",
    "%f1",
    "_",
    "{%r1, %r2}",
    "{}",
    "[%rd1]",
    "[%r1+4]",
    "bar.sync",
    "shfl.sync.bfly.b32",
    "st.shared.v4.u32",
    "ld.shared.b8",
    "atom.shared.add.u32",
    "cvt.b128.u32",
    "mov.b64",
    ".b128",
    "256",
    "%tid.y",
    "exit",
    "ret",
    "wgmma.fence.sync.aligned",
    "mbarrier.arrive.shared.b64",
    "0f7FC00000",
    "shl.b64",
    "bfe.u64",
    "mul.wide.u16",
    "@%p1",
    "@!%p1",
    ";",
    "}",
    "{",
    ",",
    "$L__BB0_2",
    "stmatrix.sync.aligned.m8n8.x1.b16",
    "cp.async.wait_all",
    "cp.async.bulk.wait_group.read",
    "barrier.cluster.arrive",
    "match.all.sync.b64",
    "elect.sync",
];

/// Runs whatever kernel a text holds for a few instructions, on memory that its parameters may or may not point to.
fn attempt(text: &str, seed: u64) -> bool {
    let Ok(module) = Module::parse(text) else { return false };
    let names: Vec<String> = module.kernels().map(str::to_owned).collect();
    for name in &names {
        let mut memory = Memory::new();
        let address = memory.alloc(1 << 16);
        let bytes = module.kernel(name).map_or(0, |k| k.param_bytes()) as usize;
        let params: Vec<u8> = address.to_le_bytes().into_iter().cycle().take(bytes).collect();
        let launch = Launch {
            module: &module,
            kernel: name,
            grid: [2, 1, 1],
            block: [128, 1, 1],
            cluster: module.kernel(name).and_then(|k| k.required_cluster()).unwrap_or([1; 3]),
            dynamic_shared: 1 << 16,
            cooperative: seed.is_multiple_of(2),
            params: &params,
        };
        let _ = run(&mut memory, &launch, &Options { seed, max_instructions: 3000, ..Options::default() });
    }
    true
}

#[test]
fn texts_with_words_exchanged_end_in_order() {
    let mut random = Random(5);
    let mut parsed = 0;
    for round in 0..1500 {
        let text = [VECTOR, REDUCE, CLUSTER, MMA, WGMMA][round % 5];
        let mut words: Vec<&str> = text.split_inclusive([' ', '\t', '\n']).collect();
        let start = words.iter().position(|w| w.contains(".entry")).unwrap_or(0);
        for _ in 0..1 + random.below(3) {
            let at = start + random.below(words.len() - start);
            let other = words[start + random.below(words.len() - start)];
            match random.below(3) {
                0 => words[at] = WORDS[random.below(WORDS.len())],
                1 => words[at] = other,
                _ => words[at] = "",
            }
        }
        let spaced: Vec<String> = words.iter().map(|w| format!("{w} ")).collect();
        parsed += usize::from(attempt(&spaced.concat(), round as u64));
    }
    // If hardly any still parsed, the executor would have seen nothing.
    assert!(parsed > 150, "only {parsed} texts parsed");
}

#[test]
fn texts_that_ask_for_too_much_are_refused() {
    let kernel = |declarations: &str, body: &str| {
        format!(".version 9.0\n.target sm_90a\n.visible .entry k({declarations})\n{{\n{body}\nret;\n}}")
    };
    for text in [
        kernel("", ".local .b8 x[200000000]; mov.u64 %rd1, x;"),
        kernel("", ".reg .b64 %rd<2>; .local .b8 x[2000000]; mov.u64 %rd1, x;"),
        kernel("", ".reg .b64 %rd<2>; .shared .b8 x[99000000]; mov.u64 %rd1, x;"),
        kernel(".param .align 8 .b8 p[60000]", ""),
        kernel("", &"{".repeat(5000)),
        kernel("", &format!("mov.b32 x, {};", "{".repeat(5000))),
        format!(".version 9.0\n.global .b32 x = {};", "{".repeat(5000)),
        kernel("", ".reg .b32 %r<2>; call f, (); ") + ".func f() { call f; ret; }",
        ".func f() { call f; ret; } .visible .entry k() { call f; ret; }".to_owned(),
    ] {
        assert!(Module::parse(&text).is_err(), "{}", &text[..text.len().min(200)]);
    }
    // A range of registers costs what is used of it.
    assert!(Module::parse(&kernel("", ".reg .b32 %r<4294967295>; mov.u32 %r4294967294, 1;")).is_ok());
}

#[test]
fn functions_that_call_each_other_many_times_are_refused_in_time() {
    // Each calls the next twice: two to the thirtieth expansions.
    let mut text = String::from(".version 9.0\n.func f30() { ret; }\n");
    for i in (0..30).rev() {
        text += &format!(".func f{i}() {{ call f{0}; call f{0}; }}\n", i + 1);
    }
    text += ".visible .entry k() { call f0; ret; }";
    assert!(Module::parse(&text).is_err());
}
