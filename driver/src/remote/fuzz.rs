//! Ten thousand frames of strangers and of clients that have gone wrong, against a server on a real connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tandem_isa::{HwConfig, Reg};

use super::channel::Channel;
use super::execute::BusService;
use super::message::{Clock, Cursor, Facts, MAX_PAYLOAD, Op, kind, parse_batch, parse_hello, put_hello};
use super::server::{Limits, serve};
use super::token::{Nonces, Seal, Side, Token};
use crate::serial::{Noise, Port, TcpPort};
use crate::{Bus, Bytes, DmaAddr, NullBus, RemoteBus};

const LIMIT: Duration = Duration::from_secs(60);

fn token() -> Token {
    Token::new(b"the token of these tests").unwrap()
}

/// A server of a device that computes nothing, in a thread that ends with the tests.
fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let config = HwConfig::preset("tiny").unwrap();
        let mut bus = NullBus::new(&config);
        let memory = bus.alloc(Bytes(1 << 16)).unwrap();
        let facts = Facts { name: "null".to_owned(), config, memory, clock: Clock::Estimated };
        let limits = Limits { penalty: Duration::ZERO, turn: LIMIT, ..Limits::default() };
        serve(&listener, Box::new(BusService::new(Box::new(bus), facts)), &token(), &limits, &|_| ())
    });
    address
}

/// What an honest client finds.
fn is_served(address: SocketAddr) {
    let port = TcpPort::connect(&address.to_string()).unwrap();
    let mut bus = RemoteBus::open(port, &token(), LIMIT).unwrap();
    let buf = bus.alloc(Bytes(5000)).unwrap();
    bus.copy_in(buf.addr, &[7; 5000]).unwrap();
    assert_eq!(bus.read32(Reg::ConfigDigest), Ok(bus.facts().config.digest()));
}

/// Numbers and bytes from a seed.
struct Random(Noise);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u32) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let len = self.below(most + 1);
        (0..len).map(|_| self.below(256) as u8).collect()
    }

    /// Bytes that were right, with some changed, doubled, missing, or cut off.
    fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len().max(1));
            match self.below(5) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 if at < bytes.len() => bytes[at] = [0, 0xff, 0x80, 0x7f][self.below(4)],
                2 if at < bytes.len() => drop(bytes.remove(at)),
                3 => bytes.insert(at, self.below(256) as u8),
                _ => bytes.truncate(at),
            }
        }
        bytes
    }

    /// A batch as a client may send it.
    fn batch(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..self.below(6) {
            let (addr, data, reg) =
                (DmaAddr(self.below(1 << 17) as u32), self.bytes(64), Reg::ALL[self.below(Reg::ALL.len())]);
            match self.below(7) {
                0 => Op::ReadRegs { first: reg, count: self.below(Reg::ALL.len()) },
                1 => Op::WriteRegs { first: reg, words: &data },
                2 => Op::CopyIn { addr, bytes: &data },
                3 => Op::CopyOut { addr, len: self.below(5000) },
                4 => Op::Wait { micros: self.below(100) as u64 },
                5 => Op::Diagnose,
                _ => Op::Reopen,
            }
            .put(&mut bytes);
        }
        bytes
    }
}

/// The payload of a proof.
fn proof_of(token: &Token, nonces: &Nonces) -> Vec<u8> {
    let mut payload = Vec::new();
    put_hello(&mut payload, &nonces.client);
    payload.extend(token.proof(Side::Client, nonces));
    payload
}

/// A proof as a stranger makes it: of a token that is not the server's.
fn proof(server: [u8; 32]) -> Vec<u8> {
    let nonces = Nonces { server, client: [9; 32] };
    let wrong = Token::new(b"another token altogether").unwrap();
    let payload = proof_of(&wrong, &nonces);
    [&(payload.len() as u32).to_le_bytes()[..], &[kind::PROOF], &payload].concat()
}

/// A client that has the device.
struct Client {
    channel: Channel<TcpPort>,
    sent: Seal,
    received: Seal,
}

/// A client past its proof.
fn admitted(address: SocketAddr) -> Client {
    let mut channel = Channel::new(TcpPort::connect(&address.to_string()).unwrap());
    let hello = channel.receive(None, LIMIT, LIMIT).unwrap();
    let (_, server) = parse_hello(&hello.payload).unwrap();
    let (nonces, token) = (Nonces { server, client: [3; 32] }, token());
    channel.send(kind::PROOF, &proof_of(&token, &nonces), None, LIMIT).unwrap();
    assert_eq!(channel.receive(None, LIMIT, LIMIT).unwrap().kind, kind::WELCOME);
    let (sent, received) = (token.seal(Side::Client, &nonces), token.seal(Side::Server, &nonces));
    let mut client = Client { channel, sent, received };
    assert_eq!(client.heard(), Some(kind::FACTS));
    client
}

impl Client {
    /// The kind of the next frame that says something.
    fn heard(&mut self) -> Option<u8> {
        loop {
            let frame = self.channel.receive(Some(&mut self.received), LIMIT, LIMIT).ok()?;
            if frame.kind != kind::ALIVE {
                return Some(frame.kind);
            }
        }
    }
}

/// Sends bytes, and reads until the server has had enough.
fn shout(stream: &mut TcpStream, bytes: &[u8]) {
    // A server that has closed already takes nothing, which is an answer too.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the server hangs on {bytes:x?}"),
        _ => {}
    }
}

#[test]
fn ten_thousand_wrong_frames_neither_stop_the_server_nor_keep_others_waiting() {
    let address = server();
    let mut random = Random(Noise::new(51, 0));
    for round in 0..4000 {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut hello = [0; 5 + 8 + 2 + 32];
        stream.read_exact(&mut hello).unwrap();
        let proof = proof(*hello.last_chunk().unwrap());
        let bytes = match round % 4 {
            0 => random.bytes(300),
            1 => [proof, random.bytes(40)].concat(),
            _ => random.mutated(proof),
        };
        shout(&mut stream, &bytes);
    }
    is_served(address);
    // Frames with a right seal and any content; a legal batch is answered and the client goes on.
    let (mut sent, mut answered) = (0, 0);
    while sent < 3000 {
        let mut client = admitted(address);
        loop {
            let batch = random.batch();
            let payload = match random.below(3) {
                0 => random.bytes(80),
                1 => random.mutated(batch),
                _ => batch,
            };
            let kind = match random.below(20) {
                0 => random.below(256) as u8,
                1 => kind::PING,
                _ => kind::REQUEST,
            };
            sent += 1;
            // A request may come in parts; of anything else, or with one that is empty, it is the last message.
            let mut rest = &payload[..];
            let parted = kind == kind::PART || random.below(4) == 0;
            if parted {
                let (part, others) = payload.split_at(random.below(payload.len() + 1));
                client.channel.send(kind::PART, part, Some(&mut client.sent), LIMIT).unwrap();
                rest = others;
            }
            let kind = if kind == kind::PART { kind::REQUEST } else { kind };
            // The server may have gone already.
            let _ = client.channel.send(kind, rest, Some(&mut client.sent), LIMIT);
            let answer = match kind {
                _ if parted && rest.len() == payload.len() => kind::FAREWELL,
                kind::REQUEST if parse_batch(&payload).is_ok() => kind::REPLY,
                kind::PING if Cursor(&payload).u32().is_ok_and(|len| len as usize <= MAX_PAYLOAD) => kind::PONG,
                _ => kind::FAREWELL,
            };
            let heard = client.heard();
            // Of a connection that is closed before everything is read, the last word may be lost.
            let cut = parted && heard.is_none() && answer == kind::FAREWELL;
            assert!(cut || heard == Some(answer), "{heard:?} {answer} {kind} {payload:x?}");
            if answer == kind::FAREWELL {
                break;
            }
            answered += 1;
        }
    }
    assert!(answered > 500, "only {answered} of {sent} batches were legal");
    is_served(address);
    // Frames whose seal or length is wrong.
    for _ in 0..3000 {
        let mut client = admitted(address);
        let batch = random.batch();
        let head = [&(batch.len() as u32).to_le_bytes()[..], &[kind::REQUEST]].concat();
        let tag = client.sent.next(&head, &batch);
        let frame = random.mutated([&head[..], &batch, &tag].concat());
        let _ = client.channel.port().send(&frame, LIMIT);
    }
    is_served(address);
}
