//! Workers of other machines: jobs and answers are lists of a Redis or Valkey server.
//!
//! A worker moves a job to a list of its own in one step, and takes it off there when it has pushed the answer. While it lives it
//! keeps a key alive that expires otherwise. The tuner puts the jobs of workers whose key is gone back, so that none is lost; of
//! two answers to one job the first counts.
//!
//! | key | what it is |
//! |---|---|
//! | `tandem:tune:jobs` | list of jobs that nobody has |
//! | `tandem:tune:taken:WORKER` | list of the job that a worker has |
//! | `tandem:tune:workers` | set of workers |
//! | `tandem:tune:alive:WORKER` | expires where the worker is gone |
//! | `tandem:tune:run:RUN` | expires where the tuner is gone; jobs of that run are dropped |
//! | `tandem:tune:answers:RUN` | list of answers |
//! | `tandem:tune:subject:NAME` | what jobs are about |

use super::crew::Crew;
use super::job::{Answer, Job, Subject, Taken};
use super::meter::Meter;
use crate::stdout;
use anyhow::{Context, Result, anyhow};
use redis::{Client, Cmd, Connection, FromRedisValue, RedisError, cmd, pipe};
use serde::{Deserialize, Serialize};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tandem_jit::Tile;

const JOBS: &str = "tandem:tune:jobs";
const WORKERS: &str = "tandem:tune:workers";
/// Time for the server to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds that keys live without their owner, and how often it keeps them alive and looks after others.
const ALIVE_S: u64 = 15;
const PULSE: Duration = Duration::from_secs(3);
/// Seconds that a call waits for an answer or a job at most.
const WAIT_S: u64 = 1;
/// Seconds that answers and subjects are kept.
const KEPT_S: u64 = 24 * 3600;
/// Time without any worker after which that is told.
const LONELY: Duration = Duration::from_secs(5);

/// The lists of a server, from the tuner's side.
pub struct Queue {
    server: Server,
    run: String,
    next_id: u64,
    /// When a worker was last there; `None` where it was told that there is none.
    company: Option<Instant>,
    _pulse: Pulse,
}

/// A connection, with the name of its server for messages.
struct Server {
    url: String,
    connection: Connection,
}

/// A job in a list: of which run, and what.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ticket {
    run: String,
    job: Job,
}

/// A thread that keeps a key alive, on a connection of its own, and removes it at the end.
struct Pulse {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Queue {
    /// Connects to a server.
    ///
    /// # Errors
    /// One sentence naming it.
    pub fn connect(url: &str) -> Result<Queue> {
        let (server, run) = (Server::connect(url)?, identity()?);
        let pulse = Pulse::start(url, run_key(&run))?;
        Ok(Queue { server, run, next_id: 0, company: Some(Instant::now()), _pulse: pulse })
    }

    /// Puts the jobs of workers that are gone back, and tells where there is no worker.
    fn look_after_workers(&mut self) -> Result<()> {
        let workers: Vec<String> = self.server.ask(cmd("SMEMBERS").arg(WORKERS))?;
        let mut alive = 0;
        for worker in workers {
            if self.server.ask::<bool>(cmd("EXISTS").arg(alive_key(&worker)))? {
                alive += 1;
                continue;
            }
            let back = cmd("LMOVE").arg(taken_key(&worker)).arg(JOBS).arg("LEFT").arg("RIGHT").clone();
            while self.server.ask::<Option<String>>(&back)?.is_some() {
                stdout::complain(&format!("note: worker {worker} is gone; what it had is measured by others"));
            }
            self.server.ask::<i64>(cmd("SREM").arg(WORKERS).arg(&worker))?;
        }
        match self.company {
            _ if alive > 0 => self.company = Some(Instant::now()),
            Some(since) if since.elapsed() >= LONELY => {
                let url = &self.server.url;
                stdout::complain(&format!(
                    "note: no worker is there; start `tandem tune-worker --queue {url}` on any machine that reaches it"
                ));
                self.company = None;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Crew for Queue {
    fn measure(
        &mut self,
        subject: &Subject,
        tiles: &[Tile],
        done: &mut dyn FnMut(usize, &Taken),
    ) -> Result<Vec<Taken>> {
        let name = subject.name();
        let text = serde_json::to_string(subject)?;
        self.server.ask::<()>(cmd("SET").arg(subject_key(&name)).arg(text).arg("EX").arg(KEPT_S))?;
        let first = self.next_id;
        for &tile in tiles {
            let job = Job { id: self.next_id, subject: name.clone(), tile };
            self.next_id += 1;
            let ticket = serde_json::to_string(&Ticket { run: self.run.clone(), job })?;
            self.server.ask::<i64>(cmd("LPUSH").arg(JOBS).arg(ticket))?;
        }
        let mut taken: Vec<Option<Taken>> = vec![None; tiles.len()];
        let mut left = tiles.len();
        let mut looked: Option<Instant> = None;
        while left > 0 {
            if looked.is_none_or(|looked| looked.elapsed() >= PULSE) {
                self.look_after_workers()?;
                looked = Some(Instant::now());
            }
            let next = cmd("BRPOP").arg(answers_key(&self.run)).arg(WAIT_S).clone();
            let Some((_, text)) = self.server.ask::<Option<(String, String)>>(&next)? else { continue };
            let wrong = |e| anyhow!("--queue {}: an answer is none of this version of tandem ({e})", self.server.url);
            let answer: Answer = serde_json::from_str(&text).map_err(wrong)?;
            // A worker that was taken for gone may answer late, what another one has measured meanwhile.
            let at = answer.id.checked_sub(first).and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
            let Some(place) = taken.get_mut(at).filter(|place| place.is_none()) else { continue };
            done(at, &answer.taken);
            *place = Some(answer.taken);
            left -= 1;
        }
        taken.into_iter().map(|taken| taken.context("a schedule has no answer")).collect()
    }
}

/// What `tandem tune-worker --queue URL` does: it takes jobs and answers them until none has come for `idle`.
///
/// # Errors
/// One sentence: a server that is not there, a job that this program or this machine cannot do.
pub fn work(url: &str, idle: Option<Duration>) -> Result<()> {
    let (mut server, worker) = (Server::connect(url)?, identity()?);
    let _pulse = Pulse::start(url, alive_key(&worker))?;
    server.ask::<i64>(cmd("SADD").arg(WORKERS).arg(&worker))?;
    let worked = serve(&mut server, &worker, idle);
    if worked.is_err() {
        // What cannot be done here goes to others.
        let back = cmd("LMOVE").arg(taken_key(&worker)).arg(JOBS).arg("LEFT").arg("RIGHT").clone();
        while let Ok(Some(_)) = server.ask::<Option<String>>(&back) {}
    }
    let gone = server.ask::<i64>(cmd("SREM").arg(WORKERS).arg(&worker));
    worked.and(gone.map(drop))
}

fn serve(server: &mut Server, worker: &str, idle: Option<Duration>) -> Result<()> {
    let mut meter: Option<(String, Meter)> = None;
    let mut since = Instant::now();
    let next = cmd("BLMOVE").arg(JOBS).arg(taken_key(worker)).arg("RIGHT").arg("LEFT").arg(WAIT_S).clone();
    loop {
        let Some(text) = server.ask::<Option<String>>(&next)? else {
            match idle {
                Some(idle) if since.elapsed() >= idle => return Ok(()),
                _ => continue,
            }
        };
        let url = server.url.clone();
        let wrong = |e| anyhow!("--queue {url}: a job is none of this version of tandem ({e})");
        let ticket: Ticket = serde_json::from_str(&text).map_err(wrong)?;
        let Ticket { run, job } = &ticket;
        let taken = if server.ask::<bool>(cmd("EXISTS").arg(run_key(run)))? {
            let meter = match &mut meter {
                Some((name, meter)) if *name == job.subject => meter,
                _ => {
                    let subject: Option<String> = server.ask(cmd("GET").arg(subject_key(&job.subject)))?;
                    let subject = subject.with_context(|| format!("--queue {url}: job {} has no subject", job.id))?;
                    let subject: Subject = serde_json::from_str(&subject).map_err(wrong)?;
                    &mut meter.insert((job.subject.clone(), Meter::open(&subject)?)).1
                }
            };
            Some(meter.measure(&job.tile))
        } else {
            None
        };
        // The answer comes and the job goes in one step.
        let mut step = pipe();
        step.atomic();
        if let Some(taken) = taken {
            let answer = serde_json::to_string(&Answer { id: job.id, taken })?;
            step.cmd("LPUSH").arg(answers_key(run)).arg(answer).ignore();
            step.cmd("EXPIRE").arg(answers_key(run)).arg(KEPT_S).ignore();
        }
        step.cmd("LREM").arg(taken_key(worker)).arg(1).arg(&text).ignore();
        step.query::<()>(&mut server.connection).map_err(|e| failed(&server.url, &e))?;
        since = Instant::now();
    }
}

impl Server {
    fn connect(url: &str) -> Result<Server> {
        let client = Client::open(url).map_err(|e| {
            anyhow!("--queue {url}: it is no address of a Redis or Valkey server such as redis://HOST:6379 ({e})")
        })?;
        let connection = client.get_connection_with_timeout(PATIENCE).map_err(|e| failed(url, &e))?;
        connection.set_read_timeout(Some(PATIENCE)).map_err(|e| failed(url, &e))?;
        connection.set_write_timeout(Some(PATIENCE)).map_err(|e| failed(url, &e))?;
        Ok(Server { url: url.to_owned(), connection })
    }

    fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T> {
        command.query(&mut self.connection).map_err(|e| failed(&self.url, &e))
    }
}

impl Pulse {
    fn start(url: &str, key: String) -> Result<Pulse> {
        let mut server = Server::connect(url)?;
        let beat = cmd("SET").arg(&key).arg(1).arg("EX").arg(ALIVE_S).clone();
        server.ask::<()>(&beat)?;
        let (end, ended) = channel::<()>();
        let url = url.to_owned();
        let thread = std::thread::spawn(move || {
            let mut server = Some(server);
            while ended.recv_timeout(PULSE) == Err(RecvTimeoutError::Timeout) {
                // A connection that is lost is made again; whoever uses the other one tells of it.
                server = server.or_else(|| Server::connect(&url).ok());
                server = server.take_if(|server| server.ask::<()>(&beat).is_ok());
            }
            if let Some(server) = &mut server {
                let _ = server.ask::<i64>(cmd("DEL").arg(&key));
            }
        });
        Ok(Pulse { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn failed(url: &str, error: &RedisError) -> anyhow::Error {
    anyhow!("--queue {url}: {error}")
}

/// A name that no other tuner or worker has.
fn identity() -> Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|e| anyhow!("the system has no random numbers ({e})"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn run_key(run: &str) -> String {
    format!("tandem:tune:run:{run}")
}

fn answers_key(run: &str) -> String {
    format!("tandem:tune:answers:{run}")
}

fn subject_key(name: &str) -> String {
    format!("tandem:tune:subject:{name}")
}

fn alive_key(worker: &str) -> String {
    format!("tandem:tune:alive:{worker}")
}

fn taken_key(worker: &str) -> String {
    format!("tandem:tune:taken:{worker}")
}
