//! Runs a few instructions on 256 triples of operands, one for each thread.

use std::collections::BTreeSet;

use tandem_ptx::{Fault, Launch, Memory, Module, Options, Stats, run};

/// Threads, and triples of operands.
pub const COUNT: usize = 256;

pub type Triple = [u64; 3];

/// Instructions that set `%rd10`, `%r10`, `%f10`, `%d10`, `%h10` or `%p10` from `%rd1` to `%rd3`, of which `%r`, `%f`, `%h`
/// and `%d` hold the lower bits.
pub fn assemble(body: &str) -> String {
    let result = if body.contains("%rd10") {
        ""
    } else if body.contains("%d10") {
        "mov.b64 %rd10, %d10;"
    } else if body.contains("%f10") {
        "mov.b32 %r10, %f10; cvt.u64.u32 %rd10, %r10;"
    } else if body.contains("%r10") {
        "cvt.u64.u32 %rd10, %r10;"
    } else if body.contains("%h10") {
        "cvt.u64.u16 %rd10, %h10;"
    } else {
        "selp.u64 %rd10, 1, 0, %p10;"
    };
    format!(
        "
.version 9.0
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 in, .param .u64 out)
{{
	.reg .pred %p<20>;
	.reg .b16 %h<20>;
	.reg .b32 %r<40>;
	.reg .f32 %f<20>;
	.reg .b64 %rd<40>;
	.reg .f64 %d<20>;
	ld.param.u64 %rd20, [in];
	ld.param.u64 %rd21, [out];
	mov.u32 %r20, %tid.x;
	mad.wide.u32 %rd20, %r20, 24, %rd20;
	mad.wide.u32 %rd21, %r20, 8, %rd21;
	ld.global.u64 %rd1, [%rd20];
	ld.global.u64 %rd2, [%rd20+8];
	ld.global.u64 %rd3, [%rd20+16];
	cvt.u32.u64 %r1, %rd1;
	cvt.u32.u64 %r2, %rd2;
	cvt.u32.u64 %r3, %rd3;
	mov.b32 %f1, %r1;
	mov.b32 %f2, %r2;
	mov.b32 %f3, %r3;
	cvt.u16.u64 %h1, %rd1;
	cvt.u16.u64 %h2, %rd2;
	cvt.u16.u64 %h3, %rd3;
	mov.b64 %d1, %rd1;
	mov.b64 %d2, %rd2;
	mov.b64 %d3, %rd3;
	{body}
	{result}
	st.global.u64 [%rd21], %rd10;
	ret;
}}
"
    )
}

/// Runs PTX text whose kernel `k` takes an input and an output address; returns the output of `out` bytes.
pub fn execute(ptx: &str, block: u32, input: &[u8], out: usize, options: &Options) -> Result<(Vec<u8>, Stats), Fault> {
    launch(ptx, [1, 1, 1], block, 1, 0, input, out, options)
}

pub fn launch(
    ptx: &str,
    grid: [u32; 3],
    block: u32,
    cluster: u32,
    shared: u32,
    input: &[u8],
    out: usize,
    options: &Options,
) -> Result<(Vec<u8>, Stats), Fault> {
    let module = Module::parse(ptx).unwrap_or_else(|e| panic!("{e}"));
    let mut memory = Memory::new();
    let (a, b) = (memory.alloc(input.len() as u64), memory.alloc(out as u64));
    memory.write(a, input).unwrap();
    memory.write(b, &vec![0; out]).unwrap();
    let params = [a.to_le_bytes(), b.to_le_bytes()].concat();
    let launch = Launch {
        module: &module,
        kernel: "k",
        grid,
        block: [block, 1, 1],
        cluster: [cluster, 1, 1],
        dynamic_shared: shared,
        cooperative: false,
        params: &params,
    };
    let stats = run(&mut memory, &launch, options)?;
    let mut bytes = vec![0; out];
    memory.read(b, &mut bytes).unwrap();
    Ok((bytes, stats))
}

/// Runs `body` on `triples`; returns the results and notes the opcodes that ran.
pub fn results(body: &str, triples: &[Triple], seen: &mut BTreeSet<String>) -> Vec<u64> {
    let input: Vec<u8> = triples.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    let (out, stats) = execute(&assemble(body), COUNT as u32, &input, 8 * COUNT, &Options::default())
        .unwrap_or_else(|f| panic!("{body}: {f}"));
    seen.extend(stats.opcodes.into_keys());
    words(&out)
}

pub fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.chunks(8).map(|b| b.iter().rev().fold(0, |w, b| w << 8 | u64::from(*b))).collect()
}

/// Operands: every pair of `special` values somewhere, random bits elsewhere.
pub fn triples(special: &[u64]) -> Vec<Triple> {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..COUNT)
        .map(|i| {
            let n = special.len();
            if i < n * n && i < 200 {
                [special[i % n], special[i / n], random()]
            } else {
                [random(), random(), random()]
            }
        })
        .collect()
}

/// A case: the instructions, and what they must give.
pub type Case = (&'static str, fn(u64, u64, u64) -> u64);

/// Checks every case of a table.
pub fn check(cases: &[Case], triples: &[Triple]) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (body, want) in cases {
        let have = results(body, triples, &mut seen);
        for ([a, b, c], have) in triples.iter().zip(have) {
            let want = want(*a, *b, *c);
            assert!(have == want, "{body} of {a:#x}, {b:#x}, {c:#x} gives {have:#x}, not {want:#x}");
        }
    }
    seen
}
