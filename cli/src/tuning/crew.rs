//! Workers of this machine: processes of this program that read jobs as lines of JSON and answer in lines of JSON.

use super::job::{Answer, Job, Order, Subject, Taken};
use super::meter::Meter;
use crate::stdout;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tandem_jit::Tile;

/// Deaths of workers after which a schedule counts as what kills them.
const DEATHS: u32 = 2;
/// The exit code of a worker that says why it ended.
const SAID: i32 = 2;

/// Who measures schedules.
pub trait Crew {
    /// Measures schedules of a layer. Answers are in the order of the schedules; `done` is told each as it comes.
    ///
    /// # Errors
    /// One sentence, where nobody can measure. A schedule that fails is an answer.
    fn measure(&mut self, subject: &Subject, tiles: &[Tile], done: &mut dyn FnMut(usize, &Taken))
    -> Result<Vec<Taken>>;
}

/// Worker processes.
pub struct Processes {
    workers: Vec<Worker>,
    heard: Receiver<(usize, Heard)>,
    heard_by: Sender<(usize, Heard)>,
    next_id: u64,
}

/// What a worker's threads tell.
enum Heard {
    Answer(Answer),
    /// Its stdout has ended.
    Gone,
}

struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    last_words: Option<JoinHandle<String>>,
    /// The subject that it knows.
    subject: String,
    /// The job that it has: the place of the schedule, and the identity that its answer has.
    job: Option<(usize, u64)>,
}

impl Processes {
    /// Starts so many workers.
    ///
    /// # Errors
    /// One sentence, where this program cannot be started again.
    pub fn start(count: usize) -> Result<Processes> {
        let (heard_by, heard) = channel();
        let workers = (0..count.max(1)).map(|index| Worker::start(index, &heard_by)).collect::<Result<_>>()?;
        Ok(Processes { workers, heard, heard_by, next_id: 0 })
    }

    /// Why a worker has ended: its last words where it said them on purpose.
    fn bury(&mut self, index: usize) -> Result<String> {
        let fresh = Worker::start(index, &self.heard_by)?;
        let mut dead = std::mem::replace(&mut self.workers[index], fresh);
        let status = dead.child.wait().context("a worker")?;
        let words = dead.last_words.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        if status.code() == Some(SAID) {
            bail!("a worker gave up: {}", words.strip_prefix("error: ").unwrap_or(&words));
        }
        Ok(format!("the worker that measured it ended with {status}"))
    }
}

impl Crew for Processes {
    fn measure(
        &mut self,
        subject: &Subject,
        tiles: &[Tile],
        done: &mut dyn FnMut(usize, &Taken),
    ) -> Result<Vec<Taken>> {
        let name = subject.name();
        let mut waiting: VecDeque<usize> = (0..tiles.len()).collect();
        let mut deaths = vec![0; tiles.len()];
        let mut taken: Vec<Option<Taken>> = vec![None; tiles.len()];
        let mut left = tiles.len();
        while left > 0 {
            for worker in self.workers.iter_mut().filter(|worker| worker.job.is_none()) {
                let Some(at) = waiting.pop_front() else { break };
                self.next_id += 1;
                worker.job = Some((at, self.next_id));
                let job = Job { id: self.next_id, subject: name.clone(), tile: tiles[at] };
                // One that cannot be written to has gone, which its other thread tells.
                let _ = worker.order(subject, &name, job);
            }
            let (index, heard) = self.heard.recv().context("the workers")?;
            match heard {
                Heard::Answer(answer) => {
                    let job = self.workers[index].job.take_if(|(_, id)| *id == answer.id);
                    let Some((at, _)) = job else { continue };
                    done(at, &answer.taken);
                    taken[at] = Some(answer.taken);
                    left -= 1;
                }
                Heard::Gone => {
                    let job = self.workers[index].job.take();
                    let why = self.bury(index)?;
                    let Some((at, _)) = job else { continue };
                    deaths[at] += 1;
                    if deaths[at] < DEATHS {
                        waiting.push_front(at);
                    } else {
                        let failed = Taken::Failed(why);
                        done(at, &failed);
                        taken[at] = Some(failed);
                        left -= 1;
                    }
                }
            }
        }
        taken.into_iter().map(|taken| taken.context("a schedule has no answer")).collect()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // A worker that waits for a job ends with its stdin; one that has a job would finish it first.
            drop(worker.stdin.take());
            if worker.job.is_some() {
                let _ = worker.child.kill();
            }
            let _ = worker.child.wait();
        }
    }
}

impl Worker {
    fn start(index: usize, heard: &Sender<(usize, Heard)>) -> Result<Worker> {
        let program = std::env::current_exe().context("this program does not know where it is")?;
        let mut command = Command::new(&program);
        command.arg("tune-worker").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().map_err(|e| anyhow!("{}: it cannot be started as a worker ({e})", program.display()))?;
        let stdin = child.stdin.take();
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let heard = heard.clone();
        std::thread::spawn(move || {
            let lines = out.into_iter().flat_map(|out| BufReader::new(out).lines().map_while(Result::ok));
            // What is no answer comes from no worker.
            for answer in lines.map_while(|line| serde_json::from_str(&line).ok()) {
                if heard.send((index, Heard::Answer(answer))).is_err() {
                    return;
                }
            }
            // Nobody listens where the crew is gone itself.
            let _ = heard.send((index, Heard::Gone));
        });
        let last_words = std::thread::spawn(move || {
            let lines = err.into_iter().flat_map(|err| BufReader::new(err).lines().map_while(Result::ok));
            lines.filter(|line| !line.trim().is_empty()).last().unwrap_or_default()
        });
        Ok(Worker { child, stdin, last_words: Some(last_words), subject: String::new(), job: None })
    }

    fn order(&mut self, subject: &Subject, name: &str, job: Job) -> Result<()> {
        let stdin = self.stdin.as_mut().context("a worker")?;
        if self.subject != name {
            let order = Order::Subject(name.to_owned(), subject.clone());
            stdin.write_all(line(&order)?.as_bytes())?;
            name.clone_into(&mut self.subject);
        }
        stdin.write_all(line(&Order::Job(job))?.as_bytes())?;
        Ok(stdin.flush()?)
    }
}

/// What `tandem tune-worker` does without a queue: jobs on stdin, answers on stdout, until stdin ends.
///
/// # Errors
/// A line that is no order, a layer that cannot be measured here.
pub fn work() -> Result<()> {
    let mut subject: Option<(String, Subject)> = None;
    let mut meter: Option<Meter> = None;
    for text in std::io::stdin().lock().lines() {
        let order: Result<Order> =
            serde_json::from_str(&text?).map_err(|e| anyhow!("standard input: a line is no job ({e})"));
        match order? {
            Order::Subject(name, new) => (subject, meter) = (Some((name, new)), None),
            Order::Job(job) => {
                let known = subject.as_ref().filter(|(name, _)| *name == job.subject);
                let (_, known) = known.with_context(|| format!("standard input: job {} has no subject", job.id))?;
                let meter = match &mut meter {
                    Some(meter) => meter,
                    None => meter.insert(Meter::open(known)?),
                };
                stdout::emit(&line(&Answer { id: job.id, taken: meter.measure(&job.tile) })?)?;
            }
        }
    }
    Ok(())
}

/// A value as a line of JSON.
fn line(value: &impl serde::Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)? + "\n")
}
