//! Who may use a device: both sides prove that they know a token, and seal what they send.
//!
//! The server sends a nonce, the client one of its own with a proof, the server its proof. A proof is HMAC-SHA256 with the token as
//! key over a label, the version of the protocol and both nonces. So is the key of each direction, with which every later frame is
//! sealed, its number included: nobody between the two can change, repeat or add one. Everybody can read them.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::message::VERSION;

/// Bytes of a nonce, and of a proof.
pub const NONCE: usize = 32;
/// Bytes of a seal.
pub const SEAL: usize = 16;
/// Bytes that a token has, at least and at most.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=4096;

/// A secret that client and server share.
#[derive(Clone)]
pub struct Token {
    key: Hmac<Sha256>,
}

/// Why bytes are no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its length.
    #[error("a token has 16 to 4096 bytes, this one {0}; `openssl rand -hex 32` makes one")]
    Length(usize),
}

/// One of the two sides of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// The nonces of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonces {
    pub server: [u8; NONCE],
    pub client: [u8; NONCE],
}

/// Seals the frames of one direction, or checks their seals.
#[derive(Clone)]
pub struct Seal {
    key: Hmac<Sha256>,
    /// Frames so far.
    count: u64,
}

impl Token {
    /// A token of the content of a file; white space around it does not count.
    ///
    /// # Errors
    /// [`TokenError::Length`] for less than 16 bytes, which could be guessed, or more than 4096.
    pub fn new(text: &[u8]) -> Result<Token, TokenError> {
        let text = text.trim_ascii();
        if !LENGTHS.contains(&text.len()) {
            return Err(TokenError::Length(text.len()));
        }
        Ok(Token { key: keyed(&Sha256::digest(text).into()) })
    }

    /// What a side sends to prove that it knows the token.
    pub fn proof(&self, side: Side, nonces: &Nonces) -> [u8; NONCE] {
        self.derive(side, b"proof", nonces).finalize().into_bytes().into()
    }

    /// Whether a side has proven it. The time that this takes says nothing about where a wrong proof differs.
    pub fn is_proven(&self, side: Side, nonces: &Nonces, proof: &[u8; NONCE]) -> bool {
        self.derive(side, b"proof", nonces).verify_slice(proof).is_ok()
    }

    /// What seals the frames that a side sends.
    pub fn seal(&self, side: Side, nonces: &Nonces) -> Seal {
        Seal { key: keyed(&self.derive(side, b"seal", nonces).finalize().into_bytes().into()), count: 0 }
    }

    fn derive(&self, side: Side, purpose: &[u8], nonces: &Nonces) -> Hmac<Sha256> {
        let side: &[u8] = match side {
            Side::Client => b"client ",
            Side::Server => b"server ",
        };
        let mac = self.key.clone().chain_update(b"tandem device, ").chain_update(side).chain_update(purpose);
        mac.chain_update(VERSION.to_le_bytes()).chain_update(nonces.server).chain_update(nonces.client)
    }
}

/// A token is not printed.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Seal {
    /// The seal of the next frame.
    pub fn next(&mut self, head: &[u8], payload: &[u8]) -> [u8; SEAL] {
        let whole: [u8; NONCE] = self.of_next(head, payload).finalize().into_bytes().into();
        let mut seal = [0; SEAL];
        seal.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        seal
    }

    /// Whether the next frame has this seal.
    pub fn is_next(&mut self, head: &[u8], payload: &[u8], seal: &[u8]) -> bool {
        seal.len() == SEAL && self.of_next(head, payload).verify_truncated_left(seal).is_ok()
    }

    fn of_next(&mut self, head: &[u8], payload: &[u8]) -> Hmac<Sha256> {
        self.count += 1;
        self.key.clone().chain_update(self.count.to_le_bytes()).chain_update(head).chain_update(payload)
    }
}

/// A nonce of the system's random numbers.
///
/// # Errors
/// The system has none to give.
pub fn nonce() -> std::io::Result<[u8; NONCE]> {
    let mut bytes = [0; NONCE];
    getrandom::fill(&mut bytes)
        .map_err(|error| std::io::Error::other(format!("the system gives no random numbers ({error})")))?;
    Ok(bytes)
}

/// HMAC pads a key to its block with zeros.
fn keyed(key: &[u8; NONCE]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    Hmac::new(&block.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Token {
        Token::new(text.as_bytes()).unwrap()
    }

    const NONCES: Nonces = Nonces { server: [1; NONCE], client: [2; NONCE] };

    #[test]
    fn a_proof_is_of_one_token_one_side_and_one_pair_of_nonces() {
        let right = token("0123456789abcdef");
        let proof = right.proof(Side::Client, &NONCES);
        assert!(right.is_proven(Side::Client, &NONCES, &proof));
        assert!(token(" 0123456789abcdef\n").is_proven(Side::Client, &NONCES, &proof));
        assert!(!token("0123456789abcdeg").is_proven(Side::Client, &NONCES, &proof));
        assert!(!right.is_proven(Side::Server, &NONCES, &proof));
        let swapped = Nonces { server: NONCES.client, client: NONCES.server };
        assert!(!right.is_proven(Side::Client, &swapped, &proof));
    }

    #[test]
    fn a_seal_is_of_one_direction_one_number_and_every_byte() {
        let token = token("0123456789abcdef");
        let seal_of = |side| token.seal(side, &NONCES);
        let (mut sender, mut receiver) = (seal_of(Side::Client), seal_of(Side::Client));
        let first = sender.next(b"head", b"payload");
        let second = sender.next(b"head", b"payload");
        assert_ne!(first, second);
        assert!(receiver.is_next(b"head", b"payload", &first));
        assert!(!receiver.clone().is_next(b"head", b"payload", &first));
        assert!(!receiver.clone().is_next(b"head", b"paylobd", &second));
        assert!(!receiver.clone().is_next(b"head", b"payload", &second[..15]));
        assert!(receiver.is_next(b"head", b"payload", &second));
        assert!(!seal_of(Side::Server).is_next(b"head", b"payload", &first));
    }

    #[test]
    fn hmac_with_a_padded_key_is_the_standards() {
        // RFC 4231, test case 2, whose key is shorter than a block.
        let mut key = [0; NONCE];
        key[..4].copy_from_slice(b"Jefe");
        let mac: [u8; 32] = keyed(&key).chain_update(b"what do ya want for nothing?").finalize().into_bytes().into();
        assert_eq!(mac[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
    }

    #[test]
    fn short_tokens_are_refused_and_none_is_printed() {
        assert_eq!(Token::new(b"  short \n").unwrap_err(), TokenError::Length(5));
        assert!(Token::new(&[b'x'; 5000]).is_err());
        assert_eq!(format!("{:?}", token("0123456789abcdef")), "Token(..)");
    }
}
