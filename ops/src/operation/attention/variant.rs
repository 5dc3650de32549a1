//! Variants of attention as types: what becomes of a score, which positions count, and whether there is a softmax.
//!
//! A variant has two forms of the same functions. The processor's kernels are compiled for each type that implements
//! [`Variant`]; the CUDA kernels are compiled at run time with the text of its [`Snippet`], and kept by that text. What follows
//! from the place of a row alone, causality and a sliding window, is no variant but a [`Span`](super::Span), so that kernels can
//! pass over what no row sees.
//!
//! # A variant of one's own
//! ```
//! use tandem_ops::attention::{At, Operand, Snippet, Variant};
//!
//! /// Scores fall with the distance, but never below a floor.
//! struct Floored<'a> {
//!     slopes: &'a [f32],
//!     floor: f32,
//! }
//!
//! impl Variant for Floored<'_> {
//!     fn logit(&self, x: f32, at: &At) -> f32 {
//!         (x - self.slopes[at.head] * (at.place() - at.position as i64).abs() as f32).max(self.floor)
//!     }
//!
//!     fn snippet(&self) -> Snippet<'_> {
//!         let logit = "float away = abs(at.place() - at.position);\n\
//!                      return fmaxf(x - p.f32s(0)[at.head] * away, p.scalars[0]);";
//!         Snippet::plain().logit(logit).scalar(self.floor).operand(Operand::F32(self.slopes))
//!     }
//! }
//!
//! let variant = Floored { slopes: &[0.5, 0.25], floor: -8.0 };
//! assert!(variant.snippet().text().contains("fmaxf(x"));
//! ```

/// Where a score stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// Number of the request.
    pub request: usize,
    /// Row among the request's.
    pub row: usize,
    /// Rows of the request.
    pub rows: usize,
    /// Position among the request's.
    pub position: usize,
    /// Positions of the request.
    pub positions: usize,
    /// Head of the query.
    pub head: usize,
    /// The byte where the request's mask begins.
    pub mask: usize,
}

impl At {
    /// The position that the row itself stands at: rows are aligned to the end. Negative where there are more rows than positions.
    pub fn place(&self) -> i64 {
        (self.positions + self.row) as i64 - self.rows as i64
    }
}

/// A variant.
pub trait Variant: Sync {
    /// Whether results are weighted by a softmax of the scores. If not, a score is the weight, and there is no sum of weights.
    const SOFTMAX: bool = true;

    /// What becomes of a score that has been scaled.
    #[inline(always)]
    fn logit(&self, x: f32, _at: &At) -> f32 {
        x
    }

    /// Whether a position counts for a row.
    #[inline(always)]
    fn keep(&self, _at: &At) -> bool {
        true
    }

    /// The same functions for CUDA.
    fn snippet(&self) -> Snippet<'_>;
}

/// Numbers that a variant reads, by request, head or position as it likes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand<'a> {
    /// Single-precision numbers: `p.f32s(i)`.
    F32(&'a [f32]),
    /// Integers: `p.i32s(i)`.
    I32(&'a [i32]),
    /// Bytes: `p.bytes(i)`.
    Bytes(&'a [u8]),
}

/// The functions of a variant as the text of CUDA C++ functions' bodies, and the numbers they read.
///
/// The bodies see `at` with the members of [`At`], and `p` with `scalars[4]` and the operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Snippet<'a> {
    softmax: bool,
    logit: Option<String>,
    keeps: Vec<String>,
    scalars: Vec<f32>,
    operands: Vec<Operand<'a>>,
}

impl<'a> Snippet<'a> {
    /// How many scalars there can be.
    pub const SCALARS: usize = 4;
    /// How many operands there can be.
    pub const OPERANDS: usize = 3;

    /// A softmax of the scores as they are.
    pub fn plain() -> Snippet<'a> {
        Snippet { softmax: true, logit: None, keeps: Vec::new(), scalars: Vec::new(), operands: Vec::new() }
    }

    /// The same without a softmax.
    pub fn weights(self) -> Snippet<'a> {
        Snippet { softmax: false, ..self }
    }

    /// The same with a body that returns what becomes of the score `x`.
    pub fn logit(self, body: impl Into<String>) -> Snippet<'a> {
        Snippet { logit: Some(body.into()), ..self }
    }

    /// The same with a body that returns whether a position counts; where there are several, all have to.
    pub fn keep(mut self, body: impl Into<String>) -> Snippet<'a> {
        self.keeps.push(body.into());
        self
    }

    /// The same with a scalar more.
    pub fn scalar(mut self, scalar: f32) -> Snippet<'a> {
        self.scalars.push(scalar);
        self
    }

    /// The same with an operand more.
    pub fn operand(mut self, operand: Operand<'a>) -> Snippet<'a> {
        self.operands.push(operand);
        self
    }

    /// Whether there is a softmax.
    pub fn has_softmax(&self) -> bool {
        self.softmax
    }

    /// The scalars.
    pub fn scalars(&self) -> &[f32] {
        &self.scalars
    }

    /// The operands.
    pub fn operands(&self) -> &[Operand<'a>] {
        &self.operands
    }

    /// The text, which two variants share exactly if their kernels are the same.
    pub fn text(&self) -> String {
        const PARAMETERS: &str = "const VariantOperands& p, const At& at";
        let mut text = format!(
            "#define VARIANT_SOFTMAX {}\n#define VARIANT_LOGIT {}\n#define VARIANT_KEEP {}\n\
             DEVICE float variant_logit({PARAMETERS}, float x) {{\n{}\n}}\n",
            i32::from(self.softmax),
            i32::from(self.logit.is_some()),
            i32::from(!self.keeps.is_empty()),
            self.logit.as_deref().unwrap_or("return x;"),
        );
        for (number, body) in self.keeps.iter().enumerate() {
            text += &format!("DEVICE bool variant_keep_{number}({PARAMETERS}) {{\n{body}\n}}\n");
        }
        let all: Vec<String> = (0..self.keeps.len()).map(|number| format!("variant_keep_{number}(p, at)")).collect();
        let all = if all.is_empty() { "true".to_owned() } else { all.join(" && ") };
        text + &format!("DEVICE bool variant_keep({PARAMETERS}) {{ return {all}; }}\n")
    }
}

/// A softmax of the scores as they are.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Variant for Plain {
    fn snippet(&self) -> Snippet<'_> {
        Snippet::plain()
    }
}

/// Scores that a hyperbolic tangent keeps within bounds: `cap tanh(x / cap)`.
#[derive(Clone, Copy, Debug)]
pub struct SoftCap {
    /// The bound.
    pub cap: f32,
}

impl Variant for SoftCap {
    #[inline(always)]
    fn logit(&self, x: f32, _: &At) -> f32 {
        // tanh(y) = 1 - 2 / (1 + e^2y), which is 1 and -1 at the ends and keeps a NaN.
        self.cap * (1.0 - 2.0 / (1.0 + super::exp2(x / self.cap * (2.0 * std::f32::consts::LOG2_E))))
    }

    fn snippet(&self) -> Snippet<'_> {
        let body =
            "float e = exp2_approx(x * p.scalars[1]);\nreturn p.scalars[0] * (1.0f - 2.0f * rcp_approx(1.0f + e));";
        Snippet::plain().logit(body).scalar(self.cap).scalar(2.0 * std::f32::consts::LOG2_E / self.cap)
    }
}

/// Attention with linear biases: a score falls with the distance from the row's place, by the slope of its head.
#[derive(Clone, Copy, Debug)]
pub struct Alibi<'a> {
    /// A slope for every head of the queries.
    pub slopes: &'a [f32],
}

impl Variant for Alibi<'_> {
    #[inline(always)]
    fn logit(&self, x: f32, at: &At) -> f32 {
        x + self.slopes[at.head] * (at.position as i64 - at.place()) as f32
    }

    fn snippet(&self) -> Snippet<'_> {
        let body = "return x + p.f32s(0)[at.head] * (float)(at.position - at.place());";
        Snippet::plain().logit(body).operand(Operand::F32(self.slopes))
    }
}

/// No softmax: the weight of a position is the sigmoid of its score and a bias.
#[derive(Clone, Copy, Debug)]
pub struct Sigmoid {
    /// Added to every score.
    pub bias: f32,
}

impl Variant for Sigmoid {
    const SOFTMAX: bool = false;

    #[inline(always)]
    fn logit(&self, x: f32, _: &At) -> f32 {
        1.0 / (1.0 + super::exp2(-std::f32::consts::LOG2_E * (x + self.bias)))
    }

    fn snippet(&self) -> Snippet<'_> {
        Snippet::plain().weights().logit("return sigmoid(x + p.scalars[0]);").scalar(self.bias)
    }
}

/// A variant with a mask of one bit a row and position, of which the lowest of a byte comes first.
#[derive(Clone, Copy, Debug)]
pub struct Masked<'a, V> {
    /// What becomes of the scores.
    pub inner: V,
    /// The masks of all requests.
    pub mask: &'a [u8],
}

impl<V: Variant> Variant for Masked<'_, V> {
    const SOFTMAX: bool = V::SOFTMAX;

    #[inline(always)]
    fn logit(&self, x: f32, at: &At) -> f32 {
        self.inner.logit(x, at)
    }

    #[inline(always)]
    fn keep(&self, at: &At) -> bool {
        let bit = at.row * at.positions + at.position;
        self.inner.keep(at) && self.mask[at.mask + bit / 8] >> (bit % 8) & 1 == 1
    }

    fn snippet(&self) -> Snippet<'_> {
        let inner = self.inner.snippet();
        let body = format!(
            "i64 bit = (i64)at.row * at.positions + at.position;\n\
             return p.bytes({})[at.mask + (bit >> 3)] >> (bit & 7) & 1;",
            inner.operands.len()
        );
        inner.keep(body).operand(Operand::Bytes(self.mask))
    }
}

/// What is done with the variant that operands ask for, whichever it is.
pub trait WithVariant {
    /// What comes of it.
    type Out;

    /// Does it.
    fn with<V: Variant>(self, variant: &V) -> Self::Out;
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: At = At { request: 0, row: 1, rows: 3, position: 4, positions: 6, head: 1, mask: 2 };

    #[test]
    fn variants_compute_what_they_say() {
        assert_eq!(AT.place(), 4);
        let near = |a: f32, b: f64| assert!((f64::from(a) - b).abs() < 1e-6 * b.abs().max(1.0), "{a} {b}");
        for x in [-90.0f32, -2.5, 0.0, 0.3, 7.0, 200.0] {
            near(SoftCap { cap: 3.0 }.logit(x, &AT), 3.0 * (f64::from(x) / 3.0).tanh());
            near(Sigmoid { bias: -1.0 }.logit(x, &AT), 1.0 / (1.0 + (1.0 - f64::from(x)).exp()));
        }
        assert_eq!(Alibi { slopes: &[9.0, 0.5] }.logit(1.0, &At { position: 2, ..AT }), 0.0);
        assert!(SoftCap { cap: 3.0 }.logit(f32::NAN, &AT).is_nan());
        // Row 1 of 6 positions: bit 10, the third of the second byte.
        assert!(Masked { inner: Plain, mask: &[0, 0, 0, 4] }.keep(&AT));
        assert!(!Masked { inner: Plain, mask: &[255, 255, 255, 251] }.keep(&AT));
    }

    #[test]
    fn masks_of_masks_keep_their_operands_apart() {
        let inner = Masked { inner: Alibi { slopes: &[1.0] }, mask: &[1] };
        let both = Masked { inner, mask: &[2] };
        let snippet = both.snippet();
        assert_eq!(snippet.operands(), [Operand::F32(&[1.0]), Operand::Bytes(&[1]), Operand::Bytes(&[2])]);
        let text = snippet.text();
        assert!(text.contains("p.bytes(1)") && text.contains("p.bytes(2)"), "{text}");
        assert!(text.contains("variant_keep_0(p, at) && variant_keep_1(p, at)"), "{text}");
        assert_ne!(text, inner.snippet().text());
        assert_eq!(Plain.snippet().text(), Snippet::plain().text());
    }
}
