//! `wgmma` over tiles of several steps along K and several swizzle atoms, as a kernel of attention keeps them: scores from
//! registers times values stored [position][d], and products of K-major rows of 128 bytes.

use tandem_ptx::{Asynchrony, Options};

use crate::lanes::launch;
use crate::matrix::Random;

/// Positions: the sum over which all steps go, 16 at a time.
const K: usize = 64;
/// Shared memory: A K-major with a 128-byte swizzle, then B.
const A_BYTES: usize = 64 * K * 2;

/// Where B lies: its descriptor's fields, how far a step moves it, and the byte of each element.
struct Right {
    name: &'static str,
    code: u64,
    transposed: bool,
    leading: usize,
    stride: usize,
    step: usize,
    /// The byte of position `k` and column `n` from the start of the operand, which is a multiple of 1024.
    place: Box<dyn Fn(usize, usize) -> usize>,
}

/// The 16-byte chunk `chunk` of a row, moved by the bits of its address from bit 7 on, in spans of `span` bytes.
fn swizzled(row: usize, chunk: usize, span: usize) -> usize {
    let line = row * span / 128;
    chunk ^ (line % (span / 16))
}

fn rights(n: usize) -> Vec<Right> {
    let mut all = Vec::new();
    for (name, code, span) in [("128 bytes", 1, 128), ("64 bytes", 2, 64), ("32 bytes", 3, 32)] {
        let width = span / 2;
        let chunk = move |k: usize, n: usize| swizzled(k, n % width / 8, span) * 16 + n % 8 * 2;
        // All positions of the first columns, then those of the next: the box of a tensor copy for each span.
        all.push(Right {
            name,
            code,
            transposed: true,
            leading: K * span,
            stride: 8 * span,
            step: 16 * span,
            place: Box::new(move |k, n| n / width * K * span + k * span + chunk(k, n)),
        });
        // All columns of the first eight positions, then those of the next.
        let row = n / width * 8 * span;
        all.push(Right {
            name,
            code,
            transposed: true,
            leading: 8 * span,
            stride: row,
            step: 2 * row,
            place: Box::new(move |k, n| k / 8 * row + n / width * 8 * span + k % 8 * span + chunk(k, n)),
        });
    }
    // Without a swizzle the leading offset goes along K and the stride along N.
    all.push(Right {
        name: "no",
        code: 0,
        transposed: true,
        leading: 128,
        stride: K * 16,
        step: 256,
        place: Box::new(|k, n| n / 8 * K * 16 + k * 16 + n % 8 * 2),
    });
    // K-major: a column of B is a row of 128 bytes, and a step moves 32 bytes along it.
    all.push(Right {
        name: "128 bytes, K-major",
        code: 1,
        transposed: false,
        leading: 16,
        stride: 1024,
        step: 32,
        place: Box::new(|k, n| n * 128 + swizzled(n, k / 8, 128) * 16 + k % 8 * 2),
    });
    all
}

fn descriptor(at: usize, leading: usize, stride: usize, code: u64) -> u64 {
    (at / 16) as u64 | ((leading / 16) as u64) << 16 | ((stride / 16) as u64) << 32 | code << 62
}

/// Four products, of which each adds to the last, A in registers or in shared memory.
fn kernel(n: usize, right: &Right, registers: bool, shared: usize) -> String {
    let d: Vec<String> = (0..n / 2).map(|i| format!("%f{i}")).collect();
    let list = d.join(", ");
    let loads: String = (0..K / 16)
        .map(|s| {
            let r: Vec<String> = (0..4).map(|i| format!("%r{}", 20 + 4 * s + i)).collect();
            format!("ld.global.v4.u32 {{{}}}, [%rd3+{}];\n", r.join(", "), 16 + 16 * s)
        })
        .collect();
    let zeros: String = d.iter().map(|d| format!("mov.f32 {d}, 0f00000000;\n")).collect();
    let b_flag = u8::from(right.transposed);
    let steps: String = (0..K / 16)
        .map(|s| {
            let (a, flags) = if registers {
                let r: Vec<String> = (0..4).map(|i| format!("%r{}", 20 + 4 * s + i)).collect();
                (format!("{{{}}}", r.join(", ")), format!("1, 1, {b_flag}"))
            } else {
                ("%rd10".to_owned(), format!("1, 1, 0, {b_flag}"))
            };
            format!(
                "wgmma.mma_async.sync.aligned.m64n{n}k16.f32.bf16.bf16 {{{list}}}, {a}, %rd11, 1, {flags};
                add.u64 %rd10, %rd10, {}; add.u64 %rd11, %rd11, {};\n",
                32 / 16,
                right.step / 16
            )
        })
        .collect();
    let stores: String = d.iter().enumerate().map(|(i, d)| format!("st.global.f32 [%rd4+{}], {d};\n", 4 * i)).collect();
    let rounds = shared / 2048;
    let (per_thread, image) = (2 * n, 16 + 128 * 64);
    format!(
        "
.version 9.0
.target sm_90a
.extern .shared .align 1024 .b8 tiles[];
.visible .entry k(.param .u64 in, .param .u64 out)
{{
	.reg .pred %p<4>;
	.reg .b32 %r<60>;
	.reg .b64 %rd<20>;
	.reg .f32 %f<{n}>;
	ld.param.u64 %rd1, [in];
	ld.param.u64 %rd2, [out];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, tiles;
	ld.global.v2.u64 {{%rd10, %rd11}}, [%rd1];
	mad.wide.u32 %rd3, %r1, 64, %rd1;
	mad.wide.u32 %rd4, %r1, {per_thread}, %rd2;
	mad.wide.u32 %rd5, %r1, 16, %rd1;
	{loads}
	mad.lo.u32 %r4, %r1, 16, %r2;
	mov.u32 %r3, 0;
L:
	ld.global.v4.u32 {{%r10, %r11, %r12, %r13}}, [%rd5+{image}];
	st.shared.v4.u32 [%r4], {{%r10, %r11, %r12, %r13}};
	add.u64 %rd5, %rd5, 2048;
	add.u32 %r4, %r4, 2048;
	add.u32 %r3, %r3, 1;
	setp.lt.u32 %p1, %r3, {rounds};
	@%p1 bra L;
	{zeros}
	fence.proxy.async.shared::cta;
	bar.sync 0;
	wgmma.fence.sync.aligned;
	{steps}
	wgmma.commit_group.sync.aligned;
	wgmma.wait_group.sync.aligned 0;
	{stores}
	ret;
}}
"
    )
}

/// Small whole numbers, so that every sum is exact, as the bits of a bf16 and as a number.
fn numbers(count: usize, seed: u64) -> Vec<i32> {
    let mut random = Random(seed);
    (0..count).map(|_| (random.next() % 31) as i32 - 15).collect()
}

fn bits(x: i32) -> u16 {
    ((x as f32).to_bits() >> 16) as u16
}

/// Runs the kernel; the first element that is not the product's, if any.
fn wrong(n: usize, right: &Right, registers: bool, options: &Options) -> Option<String> {
    let (a, b) = (numbers(64 * K, n as u64), numbers(K * n, n as u64 + 1));
    let mut shared = vec![0u8; A_BYTES + K * n * 2];
    let mut put = |at: usize, x: i32| shared[at..at + 2].copy_from_slice(&bits(x).to_le_bytes());
    for row in 0..64 {
        for k in 0..K {
            put(row * 128 + swizzled(row, k / 8, 128) * 16 + k % 8 * 2, a[row * K + k]);
        }
    }
    for k in 0..K {
        for column in 0..n {
            put(A_BYTES + (right.place)(k, column), b[k * n + column]);
        }
    }
    // Dynamic shared memory starts where the hardware's first KiB ends.
    let mut input = descriptor(1024, 16, 1024, 1).to_le_bytes().to_vec();
    input.extend(descriptor(1024 + A_BYTES, right.leading, right.stride, right.code).to_le_bytes());
    for thread in 0..128 {
        let (warp, group, place) = (thread / 32, thread % 32 / 4, thread % 4);
        for step in 0..K / 16 {
            for r in 0..4 {
                let row = warp * 16 + group + 8 * (r % 2);
                let k = 16 * step + 2 * place + 8 * (r / 2);
                input.extend([a[row * K + k], a[row * K + k + 1]].iter().flat_map(|x| bits(*x).to_le_bytes()));
            }
        }
    }
    input.extend(&shared);
    let text = kernel(n, right, registers, shared.len());
    let (out, _) = launch(&text, [1; 3], 128, 1, shared.len() as u32, &input, 128 * n * 2, options)
        .unwrap_or_else(|f| panic!("N of {n}, swizzle of {}: {f}", right.name));
    for thread in 0..128 {
        let (warp, group, place) = (thread / 32, thread % 32 / 4, thread % 4);
        for i in 0..n / 2 {
            let (row, column) = (warp * 16 + group + 8 * (i / 2 % 2), i / 4 * 8 + 2 * place + i % 2);
            let want: i32 = (0..K).map(|k| a[row * K + k] * b[k * n + column]).sum();
            let at = 4 * (thread * n / 2 + i);
            let have = f32::from_le_bytes([out[at], out[at + 1], out[at + 2], out[at + 3]]);
            if have != want as f32 {
                return Some(format!("N of {n}, swizzle of {}, ({row}, {column}): {have}, not {want}", right.name));
            }
        }
    }
    None
}

#[test]
fn tiles_of_several_atoms_are_multiplied_step_by_step_along_k() {
    let eager = Options { asynchrony: Asynchrony::Eager, ..Options::default() };
    for n in [64, 128, 256] {
        for right in rights(n) {
            assert_eq!(wrong(n, &right, true, &eager), None);
            assert_eq!(wrong(n, &right, false, &Options::default()), None);
        }
    }
}

#[test]
fn another_leading_or_stride_offset_gives_another_product() {
    for change in [|r: &mut Right| r.leading /= 2, |r: &mut Right| r.stride /= 2] {
        let mut right = rights(128).swap_remove(0);
        change(&mut right);
        assert!(wrong(128, &right, true, &Options::default()).is_some());
    }
}
