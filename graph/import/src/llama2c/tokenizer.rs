//! Text to tokens and back.

use crate::ImportError;
use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

/// The token that every text begins with; a model that gives it has ended a text.
pub const BEGIN: usize = 1;
/// The token of the byte 0; before it stand the unknown, the beginning and the end.
const FIRST_BYTE: usize = 3;
/// Control tokens and bytes, which every vocabulary has.
const LEAST: usize = FIRST_BYTE + 256;

/// A vocabulary with the scores by which pieces are joined.
///
/// # Source
/// `tokenizer.bin` of llama2.c: the length of the longest token, then score, length and bytes of every token.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    tokens: Vec<Token>,
    /// The first token of these bytes.
    by_bytes: HashMap<Vec<u8>, usize>,
}

#[derive(Clone, Debug)]
struct Token {
    score: f32,
    bytes: Vec<u8>,
}

impl Tokenizer {
    /// Reads a vocabulary.
    ///
    /// # Errors
    /// [`ImportError`] naming the byte at which the file stops making sense.
    pub fn read(bytes: &[u8]) -> Result<Tokenizer, ImportError> {
        let mut at = 0usize;
        // Where it begins, and what is read.
        let mut take = |count: usize, what: &str| {
            let found = at.checked_add(count).and_then(|end| bytes.get(at..end));
            let truncated = || ImportError::Truncated { offset: at, len: bytes.len(), what: what.to_owned() };
            let found = found.ok_or_else(truncated)?;
            at += count;
            Ok::<_, ImportError>((at - count, found))
        };
        let four = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).unwrap_or_default();
        let (_, longest) = take(4, "the length of the longest token")?;
        let longest = i32::from_le_bytes(four(longest));
        let mut tokens = Vec::new();
        loop {
            let (begin, score) = take(4, "the score of a token")?;
            let score = f32::from_le_bytes(four(score));
            let (_, length) = take(4, "the length of a token")?;
            let length = i32::from_le_bytes(four(length));
            let token = tokens.len();
            let refuse = |at: usize, problem: String| {
                let problem = format!("token {token} {problem}; it is no tokenizer of llama2.c, or a damaged one");
                Err(ImportError::malformed(format!("byte {at}"), problem))
            };
            if !score.is_finite() {
                return refuse(begin, format!("has the score {score}"));
            }
            let Some(length) = usize::try_from(length).ok().filter(|_| length <= longest) else {
                return refuse(begin + 4, format!("has {length} bytes where the longest has {longest}"));
            };
            let (begin, text) = take(length, "a token")?;
            tokens.push(Token { score, bytes: text.to_vec() });
            if begin + length == bytes.len() {
                break;
            }
        }
        if tokens.len() < LEAST {
            let problem = format!("it has {} tokens and lacks some of the {LEAST} for control and bytes", tokens.len());
            return Err(ImportError::malformed("the tokenizer", problem));
        }
        let mut by_bytes = HashMap::with_capacity(tokens.len());
        for (i, token) in tokens.iter().enumerate() {
            by_bytes.entry(token.bytes.clone()).or_insert(i);
        }
        Ok(Tokenizer { tokens, by_bytes })
    }

    /// The number of tokens.
    pub fn vocabulary(&self) -> usize {
        self.tokens.len()
    }

    /// The tokens of a text behind [`BEGIN`]: a space before it, characters that the vocabulary lacks as bytes, and then the
    /// neighbours with the best score joined, the first of equals, until none are.
    pub fn encode(&self, text: &str) -> Vec<usize> {
        let mut tokens = vec![BEGIN];
        if !text.is_empty() {
            let mut pieces = Vec::new();
            for character in std::iter::once(' ').chain(text.chars()) {
                let bytes = character.encode_utf8(&mut [0; 4]).as_bytes().to_vec();
                match self.by_bytes.get(&bytes) {
                    Some(&token) => pieces.push(token),
                    None => pieces.extend(bytes.iter().map(|&byte| FIRST_BYTE + usize::from(byte))),
                }
            }
            tokens.extend(self.join(pieces));
        }
        tokens
    }

    /// The bytes of a token behind another one. The space that [`Tokenizer::encode`] puts before a text is left out.
    pub fn decode(&self, previous: usize, token: usize) -> Cow<'_, [u8]> {
        let bytes = self.bytes(token);
        if let Some(byte) = named_byte(bytes) {
            return Cow::Owned(vec![byte]);
        }
        match bytes {
            [b' ', rest @ ..] if previous == BEGIN => Cow::Borrowed(rest),
            _ => Cow::Borrowed(bytes),
        }
    }

    fn bytes(&self, token: usize) -> &[u8] {
        self.tokens.get(token).map_or(&[], |token| &token.bytes)
    }

    fn join(&self, mut pieces: Vec<usize>) -> Vec<usize> {
        let count = pieces.len();
        // Places are linked past those that joined the one before; `count` is the end.
        let mut next: Vec<usize> = (1..=count).collect();
        let mut previous: Vec<Option<usize>> = (0..count).map(|i| i.checked_sub(1)).collect();
        let mut gone = vec![false; count];
        let mut pairs: BinaryHeap<Pair> = (1..count).filter_map(|i| self.pair(&pieces, i - 1, i)).collect();
        while let Some(pair) = pairs.pop() {
            let Reverse(left) = pair.left;
            let right = next[left];
            // A pair is stale once one of its pieces has joined another one.
            if gone[left] || right >= count || [pieces[left], pieces[right]] != pair.pieces {
                continue;
            }
            pieces[left] = pair.joined;
            gone[right] = true;
            next[left] = next[right];
            if let Some(after) = previous.get_mut(next[left]) {
                *after = Some(left);
                pairs.extend(self.pair(&pieces, left, next[left]));
            }
            if let Some(before) = previous[left] {
                pairs.extend(self.pair(&pieces, before, left));
            }
        }
        pieces.into_iter().zip(gone).filter(|(_, gone)| !gone).map(|(piece, _)| piece).collect()
    }

    fn pair(&self, pieces: &[usize], left: usize, right: usize) -> Option<Pair> {
        let pair = [pieces[left], pieces[right]];
        let &joined = self.by_bytes.get(&[self.bytes(pair[0]), self.bytes(pair[1])].concat())?;
        Some(Pair { score: self.tokens.get(joined)?.score, left: Reverse(left), pieces: pair, joined })
    }
}

/// Two neighbours that a token joins; the best is the largest.
struct Pair {
    score: f32,
    left: Reverse<usize>,
    pieces: [usize; 2],
    joined: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        // Scores of one sign of zero only, so that equal ones go by their places.
        let score = (self.score + 0.0).total_cmp(&(other.score + 0.0));
        score.then(self.left.cmp(&other.left)).then(self.pieces.cmp(&other.pieces))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

/// The byte of a token that is written `<0x0A>`.
fn named_byte(token: &[u8]) -> Option<u8> {
    let digits = token.strip_prefix(b"<0x")?.strip_suffix(b">").filter(|digits| digits.len() == 2)?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
