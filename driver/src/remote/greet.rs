//! The client's side of the handshake.

use std::time::Duration;

use super::channel::{Channel, NoFrame};
use super::message::{Malformed, Served, VERSION, kind, parse_hello, put_hello, reason};
use super::token::{NONCE, Nonces, Seal, Side, Token, nonce};
use crate::BusError;
use crate::serial::Port;

/// Time for a server to answer each message of the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Time to wait for another client to leave, however often the server says that it is alive.
const LONGEST: Duration = Duration::from_secs(600);

/// What seals either direction.
pub struct Seals {
    pub sent: Seal,
    pub received: Seal,
}

impl std::fmt::Debug for Seals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seals(..)")
    }
}

/// Proves the token to the server, and lets it prove that it knows it; what it serves.
pub fn greet<P: Port>(channel: &mut Channel<P>, token: &Token, silence: Duration) -> Result<(Seals, Served), BusError> {
    let name = channel.port().name();
    let unavailable = |detail: String| BusError::Unavailable { detail: format!("{name}: {detail}") };
    let stranger = || unavailable("what answers there serves no Tandem device".to_owned());
    let broken = |no_frame: NoFrame| match no_frame {
        NoFrame::Silent => unavailable("it says nothing; is `tandem serve-device` running there?".to_owned()),
        NoFrame::Wrong | NoFrame::Long => stranger(),
        NoFrame::Closed(error) => unavailable(format!("{error}; it may have too many clients")),
    };
    let hello = channel.receive(None, HANDSHAKE, HANDSHAKE).map_err(&broken)?;
    let (version, server) =
        (hello.kind == kind::HELLO).then(|| parse_hello(&hello.payload).ok()).flatten().ok_or_else(stranger)?;
    if version != VERSION {
        return Err(unavailable(format!(
            "its protocol has version {version} and this one {VERSION}; use the same version of tandem on both sides"
        )));
    }
    let client = nonce().map_err(|error| unavailable(error.to_string()))?;
    let nonces = Nonces { server, client };
    let mut proof = Vec::new();
    put_hello(&mut proof, &client);
    proof.extend(token.proof(Side::Client, &nonces));
    channel.send(kind::PROOF, &proof, None, HANDSHAKE).map_err(&broken)?;
    let welcome = channel.receive(None, HANDSHAKE, HANDSHAKE).map_err(&broken)?;
    match (welcome.kind, &welcome.payload[..]) {
        (kind::WELCOME, proof) if proof.len() == NONCE => {
            let proven = proof.first_chunk().is_some_and(|proof| token.is_proven(Side::Server, &nonces, proof));
            if !proven {
                return Err(unavailable("what answers there does not know the token".to_owned()));
            }
        }
        (kind::REFUSAL, &[reason]) => return Err(unavailable(because(reason))),
        _ => return Err(stranger()),
    }
    let mut seals = Seals { sent: token.seal(Side::Client, &nonces), received: token.seal(Side::Server, &nonces) };
    let (patience, begin) = (silence.max(HANDSHAKE), channel.port().now());
    while channel.port().now().saturating_sub(begin) < LONGEST {
        let frame = channel.receive(Some(&mut seals.received), patience, patience).map_err(&broken)?;
        match (frame.kind, &frame.payload[..]) {
            // Another client has the device; the server says so for a while and then refuses.
            (kind::ALIVE, []) => {}
            (kind::FACTS, payload) => {
                let served = Served::parse(payload).map_err(|Malformed| stranger())?;
                return Ok((seals, served));
            }
            (kind::FAREWELL, &[reason]) => return Err(unavailable(because(reason))),
            _ => return Err(stranger()),
        }
    }
    Err(unavailable(because(reason::BUSY)))
}

/// What a server's reason means.
pub fn because(code: u8) -> String {
    match code {
        reason::TOKEN => "the token is refused: it is not the server's".to_owned(),
        reason::VERSION => format!("the server speaks another version than {VERSION} of the protocol"),
        reason::BUSY => "another client has the device; try again when it is done".to_owned(),
        reason::IDLE => "the server has dropped this client for being idle".to_owned(),
        reason::MALFORMED => "the server could not read the last message".to_owned(),
        reason::LONG => "the last message is longer than the server takes".to_owned(),
        other => format!("the server refuses with the unknown reason {other}"),
    }
}
