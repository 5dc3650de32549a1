//! The server: one device, one client at a time, and strangers at the door.
//!
//! A thread owns the service and answers requests; every connection has a thread of its own, so that one that is slow, silent or wrong
//! keeps no other waiting while there are places left. Those before the proof of the token count too: strangers who take all of
//! [`Limits::connections`] keep clients out, each for as long as a handshake and a penalty may take, and can come again. While the
//! device is at work its client hears that the server is alive.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::channel::{Channel, NoFrame};
use super::message::{Cursor, MAX_PAYLOAD, VERSION, kind, parse_hello, put_hello, reason};
use super::service::{Service, reply};
use super::token::{NONCE, Nonces, Seal, Side, Token, nonce};
use crate::serial::{Port, TcpPort};

/// How often a client that waits hears from the server.
const ALIVE: Duration = Duration::from_millis(250);
/// Doublings of the penalty.
const DOUBLINGS: u32 = 4;
/// Addresses whose failures are remembered, and for how long.
const MEMORY: (usize, Duration) = (1024, Duration::from_secs(60));
/// Connections in a row that the system could not hand over before the listener counts as broken, and the pause after each.
const FAILURES: u32 = 100;
const RECOVERY: Duration = Duration::from_millis(20);

/// How long things may take, and how many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the connection to the whole proof of the token, and for a stranger to take the answer.
    pub handshake: Duration,
    /// From the first byte of a frame to its last, and for a client to take a reply.
    pub frame: Duration,
    /// Silence of a client that has the device, before it is dropped.
    pub idle: Duration,
    /// How long a client waits for another one to leave, before it is refused.
    pub turn: Duration,
    /// What a wrong token costs in time; twice as much for the next from the same address, up to sixteen times.
    pub penalty: Duration,
    /// Connections at a time, whether they have proven the token or not; what comes beyond is closed at once.
    pub connections: usize,
}

/// What a server sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A connection ended before it became a client.
    Refused {
        /// From where.
        peer: SocketAddr,
        /// Why; one phrase.
        why: &'a str,
    },
    /// A client has the device.
    Joined {
        /// From where.
        peer: SocketAddr,
    },
    /// A client has left the device.
    Left {
        /// From where.
        peer: SocketAddr,
        /// Why; one phrase.
        why: &'a str,
    },
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            handshake: Duration::from_secs(5),
            frame: Duration::from_secs(30),
            idle: Duration::from_secs(300),
            turn: Duration::from_secs(5),
            penalty: Duration::from_millis(250),
            connections: 32,
        }
    }
}

/// Work for the thread that owns the service.
enum Job {
    /// A request, and where its reply goes; none where the request is malformed.
    Request(Vec<u8>, Sender<Option<Vec<u8>>>),
    /// A client has left.
    Leave,
}

/// What all connections share.
struct Shared<'a> {
    token: &'a Token,
    /// What a client is told first.
    facts: &'a [u8],
    /// Most bytes of a message.
    most: usize,
    limits: &'a Limits,
    told: &'a (dyn Fn(&Event) + Sync),
    connections: Mutex<usize>,
    /// Whether a client has the device.
    taken: Mutex<bool>,
    given_back: Condvar,
    /// Failures by address, and the last one's time.
    failures: Mutex<HashMap<IpAddr, (u32, Instant)>>,
}

impl<'a> Shared<'a> {
    fn new(
        token: &'a Token,
        facts: &'a [u8],
        most: usize,
        limits: &'a Limits,
        told: &'a (dyn Fn(&Event) + Sync),
    ) -> Shared<'a> {
        Shared {
            token,
            facts,
            most: most.max(MAX_PAYLOAD),
            limits,
            told,
            connections: Mutex::new(0),
            taken: Mutex::new(false),
            given_back: Condvar::new(),
            failures: Mutex::new(HashMap::new()),
        }
    }
}

/// Exports a service to one client after the other, for ever; `told` hears of them.
///
/// # Errors
/// The listener failed, and who was connected has left.
pub fn serve(
    listener: &TcpListener,
    mut service: Box<dyn Service>,
    token: &Token,
    limits: &Limits,
    told: &(dyn Fn(&Event) + Sync),
) -> io::Result<()> {
    let facts = service.served().bytes();
    let shared = &Shared::new(token, &facts, service.most(), limits, told);
    let (jobs, work) = channel();
    // The sender ends with this closure: the thread of the service waits for all of them to be gone, and the scope for the thread.
    thread::scope(move |scope| {
        scope.spawn(move || own(&mut *service, &work));
        let mut failed = 0;
        loop {
            let (stream, peer) = match listener.accept() {
                Ok(accepted) => accepted,
                // A connection that ended while it waited, or that the system has no descriptor for now, is no failure of the
                // listener.
                Err(_) if failed < FAILURES => {
                    failed += 1;
                    thread::sleep(RECOVERY);
                    continue;
                }
                Err(error) => return Err(error),
            };
            failed = 0;
            let mut open = lock(&shared.connections);
            if *open >= limits.connections {
                continue;
            }
            *open += 1;
            drop(open);
            let jobs = jobs.clone();
            let spawned = thread::Builder::new().spawn_scoped(scope, move || {
                let _place = Place(shared);
                attend(shared, stream, peer, &jobs);
            });
            if spawned.is_err() {
                *lock(&shared.connections) -= 1;
            }
        }
    })
}

/// A connection's place among those that there may be.
struct Place<'a, 'b>(&'a Shared<'b>);

impl Drop for Place<'_, '_> {
    fn drop(&mut self) {
        *lock(&self.0.connections) -= 1;
    }
}

/// The device, while a client has it.
struct Turn<'a, 'b>(&'a Shared<'b>, &'a Sender<Job>);

impl Drop for Turn<'_, '_> {
    fn drop(&mut self) {
        // What the client left running ends before the next one comes.
        let _ = self.1.send(Job::Leave);
        *lock(&self.0.taken) = false;
        self.0.given_back.notify_one();
    }
}

/// Answers what comes, until nobody can send anything more.
fn own(service: &mut dyn Service, work: &Receiver<Job>) {
    while let Ok(job) = work.recv() {
        match job {
            Job::Request(request, answered) => {
                // Nobody listens where the client has gone meanwhile.
                let _ = answered.send(reply(service, &request).ok());
            }
            Job::Leave => service.leave(),
        }
    }
}

/// A connection from beginning to end.
fn attend(shared: &Shared, stream: TcpStream, peer: SocketAddr, jobs: &Sender<Job>) {
    let Ok(port) = TcpPort::accepted(stream) else { return };
    let mut channel = Channel::new(port);
    let (mut sent, mut received) = match admit(shared, &mut channel, peer) {
        Ok(seals) => seals,
        Err((why, code)) => {
            (shared.told)(&Event::Refused { peer, why });
            if let Some(code) = code {
                // A stranger that does not wait for the answer needs none.
                let _ = channel.send(kind::REFUSAL, &[code], None, shared.limits.handshake);
            }
            return;
        }
    };
    let turn = match take(shared, &mut channel, &mut sent, jobs) {
        Ok(turn) => turn,
        Err((why, code)) => {
            (shared.told)(&Event::Refused { peer, why });
            if let Some(code) = code {
                let _ = channel.send(kind::FAREWELL, &[code], Some(&mut sent), shared.limits.frame);
            }
            return;
        }
    };
    (shared.told)(&Event::Joined { peer });
    let why = converse(shared, &mut channel, &mut sent, &mut received, jobs);
    (shared.told)(&Event::Left { peer, why });
    drop(turn);
}

/// Why a connection becomes no client: a phrase, and what it is told, where it is told anything.
type Refusal = (&'static str, Option<u8>);

/// Lets a stranger prove the token. What seals the frames to and from it.
fn admit<P: Port>(shared: &Shared, channel: &mut Channel<P>, peer: SocketAddr) -> Result<(Seal, Seal), Refusal> {
    const NO_PROOF: Refusal = ("what it sent is no proof of a token", None);
    let limit = shared.limits.handshake;
    let end = channel.port().now() + limit;
    let server = nonce().map_err(|_| ("the system gives no random numbers", None))?;
    let mut hello = Vec::new();
    put_hello(&mut hello, &server);
    let gone = |no_frame| match no_frame {
        NoFrame::Silent => ("it proved no token in time", None),
        NoFrame::Wrong | NoFrame::Long => NO_PROOF,
        NoFrame::Closed(_) => ("it left without a proof of a token", None),
    };
    channel.send(kind::HELLO, &hello, None, limit).map_err(gone)?;
    let frame = channel.receive_by(None, end).map_err(gone)?;
    let parts = frame.payload.split_last_chunk::<NONCE>().filter(|_| frame.kind == kind::PROOF);
    let parsed = parts.and_then(|(greeting, proof)| Some((parse_hello(greeting).ok()?, proof)));
    let ((version, client), proof) = parsed.ok_or(NO_PROOF)?;
    if version != VERSION {
        return Err(("it speaks another version of the protocol", Some(reason::VERSION)));
    }
    let nonces = Nonces { server, client };
    if !shared.token.is_proven(Side::Client, &nonces, proof) {
        // The delay holds up this connection alone, and comes before the answer.
        thread::sleep(penalty(shared, peer.ip()));
        return Err(("its token is wrong", Some(reason::TOKEN)));
    }
    channel.send(kind::WELCOME, &shared.token.proof(Side::Server, &nonces), None, limit).map_err(gone)?;
    Ok((shared.token.seal(Side::Server, &nonces), shared.token.seal(Side::Client, &nonces)))
}

/// Waits until no other client has the device.
fn take<'a, 'b, P: Port>(
    shared: &'a Shared<'b>,
    channel: &mut Channel<P>,
    sent: &mut Seal,
    jobs: &'a Sender<Job>,
) -> Result<Turn<'a, 'b>, Refusal> {
    let begin = Instant::now();
    loop {
        let taken = lock(&shared.taken);
        let waited = shared.given_back.wait_timeout_while(taken, ALIVE, |taken| *taken);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !*taken {
            *taken = true;
            return Ok(Turn(shared, jobs));
        }
        drop(taken);
        if begin.elapsed() >= shared.limits.turn {
            return Err(("another client has the device", Some(reason::BUSY)));
        }
        channel
            .send(kind::ALIVE, &[], Some(sent), shared.limits.frame)
            .map_err(|_| ("it left while another client had the device", None))?;
    }
}

/// Serves a client until it leaves, or has to; why.
fn converse(
    shared: &Shared,
    channel: &mut Channel<TcpPort>,
    sent: &mut Seal,
    received: &mut Seal,
    jobs: &Sender<Job>,
) -> &'static str {
    const TAKES_NOTHING: &str = "it takes no replies";
    let limits = shared.limits;
    if channel.send(kind::FACTS, shared.facts, Some(sent), limits.frame).is_err() {
        return TAKES_NOTHING;
    }
    let farewell = |channel: &mut Channel<TcpPort>, sent: &mut Seal, reason: u8| {
        let _ = channel.send(kind::FAREWELL, &[reason], Some(sent), limits.frame);
    };
    loop {
        let frame = match channel.receive_message(received, limits.idle, limits.frame, shared.most) {
            Ok(frame) => frame,
            Err(NoFrame::Silent) => {
                farewell(channel, sent, reason::IDLE);
                return "it said nothing for too long";
            }
            Err(NoFrame::Wrong) => {
                farewell(channel, sent, reason::MALFORMED);
                return "a frame came that it has not sealed";
            }
            Err(NoFrame::Long) => {
                farewell(channel, sent, reason::LONG);
                return "it sent a message that is too long";
            }
            Err(NoFrame::Closed(_)) => return "it is done",
        };
        let reply = match frame.kind {
            kind::REQUEST => {
                run(shared, channel, sent, jobs, frame.payload).map(|reply| reply.map(|reply| (kind::REPLY, reply)))
            }
            kind::PING => Ok(pong(&frame.payload).map(|pong| (kind::PONG, pong))),
            _ => Ok(None),
        };
        match reply {
            Ok(Some((kind, reply))) => {
                if channel.send_message(kind, &reply, sent, limits.frame).is_err() {
                    return TAKES_NOTHING;
                }
            }
            Ok(None) => {
                farewell(channel, sent, reason::MALFORMED);
                return "it sent a message that is none";
            }
            Err(why) => return why,
        }
    }
}

/// What answers a ping. `None` where it is malformed.
fn pong(ping: &[u8]) -> Option<Vec<u8>> {
    let len = Cursor(ping).u32().ok()? as usize;
    (len <= MAX_PAYLOAD).then(|| vec![0; len])
}

/// Has a request answered. `None` where it is malformed.
fn run(
    shared: &Shared,
    channel: &mut Channel<TcpPort>,
    sent: &mut Seal,
    jobs: &Sender<Job>,
    request: Vec<u8>,
) -> Result<Option<Vec<u8>>, &'static str> {
    let (sender, reply) = std::sync::mpsc::channel();
    const BROKEN: &str = "the device has broken down";
    jobs.send(Job::Request(request, sender)).map_err(|_| BROKEN)?;
    loop {
        match reply.recv_timeout(ALIVE) {
            Ok(reply) => return Ok(reply),
            Err(RecvTimeoutError::Disconnected) => return Err(BROKEN),
            Err(RecvTimeoutError::Timeout) => channel
                .send(kind::ALIVE, &[], Some(sent), shared.limits.frame)
                .map_err(|_| "it left while the device was at work")?,
        }
    }
}

/// What one more failure from an address costs.
fn penalty(shared: &Shared, address: IpAddr) -> Duration {
    let (most, forget) = MEMORY;
    let mut failures = lock(&shared.failures);
    failures.retain(|_, (_, last)| last.elapsed() < forget);
    if failures.len() >= most {
        failures.clear();
    }
    let (count, last) = failures.entry(address).or_insert((0, Instant::now()));
    let doublings = (*count).min(DOUBLINGS);
    (*count, *last) = (count.saturating_add(1), Instant::now());
    shared.limits.penalty * 2u32.pow(doublings)
}

/// A panic of another thread that holds the lock leaves a value that is still one.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A client with a clock of its own, from which a byte comes each second, endlessly.
    struct Slow {
        now: Duration,
        said: Vec<u8>,
        left: bool,
    }

    impl Port for Slow {
        fn name(&self) -> String {
            "a slow client".to_owned()
        }
        fn now(&mut self) -> Duration {
            self.now
        }
        fn send(&mut self, _: &[u8], _: Duration) -> io::Result<()> {
            if self.left { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        }
        fn receive(&mut self, bytes: &mut [u8], limit: Duration) -> io::Result<usize> {
            self.now += limit.min(SECOND);
            if limit < SECOND {
                return Ok(0);
            }
            bytes[0] = self.said.pop().unwrap_or(0);
            Ok(1)
        }
        fn reopen(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_limit_of_the_handshake_is_for_all_of_the_proof() {
        let token = Token::new(b"the token of these tests").unwrap();
        let limits = Limits { handshake: 10 * SECOND, ..Limits::default() };
        let shared = Shared::new(&token, &[], 0, &limits, &|_| ());
        // From its end: the head of a proof, and then zeros.
        let mut channel = Channel::new(Slow { now: SECOND, said: vec![kind::PROOF, 0, 0, 0, 74], left: false });
        let refused = admit(&shared, &mut channel, SocketAddr::from(([127, 0, 0, 1], 1))).map(drop);
        assert_eq!(refused, Err(("it proved no token in time", None)));
        assert_eq!(channel.port().now, 11 * SECOND);
    }

    #[test]
    fn a_client_that_leaves_before_its_turn_is_told_from_one_whose_turn_does_not_come() {
        let token = Token::new(b"the token of these tests").unwrap();
        let mut seal = token.seal(Side::Server, &Nonces { server: [1; NONCE], client: [2; NONCE] });
        let (jobs, _work) = channel();
        let mut wait = |turn, left| {
            let limits = Limits { turn, ..Limits::default() };
            let shared = Shared::new(&token, &[], 0, &limits, &|_| ());
            *lock(&shared.taken) = true;
            let mut channel = Channel::new(Slow { now: SECOND, said: Vec::new(), left });
            take(&shared, &mut channel, &mut seal, &jobs).err()
        };
        assert_eq!(wait(Duration::ZERO, false), Some(("another client has the device", Some(reason::BUSY))));
        assert_eq!(wait(600 * SECOND, true), Some(("it left while another client had the device", None)));
    }
}
