//! What opcodes are given: the same bits every time.

use half::f16;

/// Threads of a scalar opcode.
const SCALARS: usize = 1024;
/// Warps of an `mma`.
const WARPS: usize = 4;
/// Words of shared memory for `wgmma`: 16 KiB each for A and B.
pub(super) const IMAGE: usize = 8192;

/// Element types of matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    Tf32,
    F16,
    Bf16,
    E4m3,
    E5m2,
    /// Integers and single bits: any.
    Bits,
    /// Sums of those: small, so that they do not overflow.
    S32,
}

/// Which numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Small whole ones, of which every sum of products is exact.
    Whole,
    /// Positive ones with all bits of their mantissas, whose sums have to be rounded.
    Rounded,
}

/// What an opcode is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// Three numbers of single precision: special ones in pairs, all exponents, a range around zero.
    Singles,
    /// Three words of two binary16 each, or of two bfloat16.
    Halves(Element),
    /// Three words of any bits.
    Words,
    /// Sums, A and B of a warp's product.
    Mma { a: Element, b: Element, sums: Element, numbers: Numbers },
    /// Rows in shared memory, and their offsets in another order.
    Rows,
    /// Sums, A in registers, and shared memory with both operands.
    Wgmma { a: Element, b: Element, sums: Element, numbers: Numbers },
}

/// The words of an opcode's inputs.
pub(super) struct Words {
    /// Shared memory, the same for all threads.
    pub shared: Vec<u32>,
    /// Words of one thread.
    pub words: usize,
    /// The words of all threads, thread after thread.
    pub threads: Vec<u32>,
}

/// Bits that look random.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 ^ (self.0 >> 11) as u32
    }

    fn below(&mut self, n: u32) -> u32 {
        (self.next() >> 8) % n
    }
}

/// Zeros, subnormals, infinities, NaNs; ties and edges of the narrower formats; edges of integers.
const SINGLES: [u32; 26] = [
    0x0000_0000,
    0x8000_0000,
    0x0000_0001,
    0x807f_ffff,
    0x0080_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffa0_1234,
    0x7f7f_ffff,
    0x3f00_0000,
    0x3fc0_0000,
    0xc020_0000,
    0x3f80_1000,
    0x3f80_3000,
    0x3f80_8000,
    0x3f81_8000,
    0x477f_e000,
    0x477f_f000,
    0x3380_0000,
    0x43e0_0000,
    0x43e8_0000,
    0x4f00_0000,
    0xcf00_0001,
];

/// The same of binary16 and bfloat16, whose bits both are.
const HALVES: [u32; 14] =
    [0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x3c00, 0xbc00, 0x7bff, 0x7c00, 0xfc00, 0x7e00, 0x3f80, 0x7f80, 0xff81];

impl Given {
    /// The name.
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// The words.
    pub fn make(self) -> Words {
        let seed = self.name().bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let mut random = Random(seed);
        let mut make = |words: usize, threads: usize, one: &mut dyn FnMut(&mut Random, usize, usize) -> u32| {
            let mut all = Vec::with_capacity(words * threads);
            for thread in 0..threads {
                all.extend((0..words).map(|word| one(&mut random, thread, word)));
            }
            Words { shared: Vec::new(), words, threads: all }
        };
        match self {
            Given::Singles => make(3, SCALARS, &mut |random, thread, word| single(random, thread, word)),
            Given::Halves(_) => make(3, SCALARS, &mut |random, thread, word| {
                let mut one = |at: usize| match at / HALVES.len() {
                    0..14 if word < 2 => HALVES[if word == 0 { at } else { at / HALVES.len() } % HALVES.len()],
                    _ => random.next() & 0xffff,
                };
                one(thread) | one((thread * 5 + 3) % SCALARS) << 16
            }),
            Given::Words => make(3, SCALARS, &mut |random, thread, word| match (thread, word) {
                // All values of a byte, twice in a word in different orders.
                (0..256, 0) => thread as u32 | (255 - thread as u32) << 8,
                _ => random.next(),
            }),
            Given::Mma { a, b, sums, numbers } => make(12, 32 * WARPS, &mut |random, _, word| match word {
                0..4 => sum(random, sums, numbers),
                4..8 => elements(random, a, numbers),
                _ => elements(random, b, numbers),
            }),
            Given::Rows => {
                // An odd factor puts the 64 rows of 16 bytes in another order.
                let one = &mut |random: &mut Random, thread: usize, word: usize| match word {
                    0 => (thread * 37 + 11) as u32 % 64 * 16,
                    _ => random.next(),
                };
                let given = make(5, 32, one);
                Words { shared: (0..256).map(|_| random.next()).collect(), ..given }
            }
            Given::Wgmma { a, b, sums, numbers } => {
                let given = make(68, 128, &mut |random, _, word| match word {
                    0..64 => sum(random, sums, numbers),
                    _ => elements(random, a, numbers),
                });
                let one = |at: usize| elements(&mut random, if at < IMAGE / 2 { a } else { b }, numbers);
                Words { shared: (0..IMAGE).map(one).collect(), ..given }
            }
        }
    }
}

fn single(random: &mut Random, thread: usize, word: usize) -> u32 {
    let count = SINGLES.len();
    match thread {
        // Every pair of special values, and each with the next two.
        at if at < count * count => SINGLES[[at, at / count, at + at / count][word] % count],
        // From −160 to 160, where exponentials and tangents are neither 0 nor infinite.
        at if at % 3 == 0 => ((random.below(320_000) as f32 - 160_000.0) / 1000.0).to_bits(),
        _ => random.next(),
    }
}

/// A word of elements of a matrix.
fn elements(random: &mut Random, element: Element, numbers: Numbers) -> u32 {
    let whole = numbers == Numbers::Whole;
    let mut pair = |bits: &mut dyn FnMut(&mut Random) -> u32| bits(random) | bits(random) << 16;
    match element {
        Element::Bits | Element::S32 => random.next(),
        Element::F32 | Element::Tf32 => number(random, whole).to_bits(),
        Element::Bf16 => pair(&mut |random| number(random, whole).to_bits() >> 16),
        Element::F16 => pair(&mut |random| f16::from_f32(number(random, whole)).to_bits().into()),
        // 0 to 3 with a sign, or mantissas around 1.
        Element::E4m3 | Element::E5m2 => (0..4).fold(0, |word, _| {
            let table = if element == Element::E4m3 { [0, 0x38, 0x40, 0x44] } else { [0, 0x3c, 0x40, 0x42] };
            let byte = if whole {
                table[random.below(4) as usize] | random.below(2) << 7
            } else {
                table[1] - 8 + random.below(16)
            };
            word << 8 | byte
        }),
    }
}

/// A word of what products are added to.
fn sum(random: &mut Random, element: Element, numbers: Numbers) -> u32 {
    match element {
        Element::S32 => random.below(2_000_001).wrapping_sub(1_000_000),
        other => elements(random, other, numbers),
    }
}

fn number(random: &mut Random, whole: bool) -> f32 {
    if whole {
        return random.below(7) as f32 - 3.0;
    }
    // From 1/4 to 4 with a mantissa of 23 bits.
    f32::from_bits((125 + random.below(4)) << 23 | random.next() & 0x7f_ffff)
}
