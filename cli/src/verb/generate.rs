//! `tandem generate`: a language model, token by token.

use super::run::at_least_one;
use crate::language::{Chooser, Language};
use crate::options::{DeviceOptions, Format};
use crate::request::PlaceOptions;
use crate::session::Session;
use crate::{Outcome, report, stdout};
use anyhow::{Result, anyhow, bail};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tandem_import::llama2c::{BEGIN, State, Tokenizer};

/// Steps where nothing is said.
const STEPS: usize = 256;

/// Options of `tandem generate`.
#[derive(Args)]
pub struct Options {
    /// A checkpoint of llama2.c (version 0).
    model: PathBuf,
    /// Its tokenizer.
    #[arg(long, value_name = "TOK.bin")]
    tokenizer: PathBuf,
    /// The text to continue.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prompt: String,
    /// Tokens that the model reads, those of the prompt among them [default: 256, or as many as it was made for].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    steps: Option<usize>,
    /// 0: the likeliest token always; else tokens are drawn, from likelihoods to the power of 1 / T.
    #[arg(long, value_name = "T", value_parser = temperature, default_value = "0", allow_hyphen_values = true)]
    temperature: f64,
    /// Where the draws begin.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: DeviceOptions,
    #[command(flatten)]
    place: PlaceOptions,
    /// Form of the result. table: the text on stdout as it comes, and then the figures on stderr.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What was made.
#[derive(Default)]
struct Made {
    /// Tokens behind the beginning, those of the prompt among them.
    tokens: Vec<usize>,
    text: String,
}

/// Runs the verb.
pub fn run(options: &Options) -> Result<Outcome> {
    let language = Language::open(&options.model, Some(&options.tokenizer))?;
    let (config, tokenizer) = (language.config(), &language.tokenizer);
    let steps = options.steps.unwrap_or(STEPS.min(config.context));
    if steps > config.context {
        bail!("--steps {steps}: the model was made for {} at most", config.context);
    }
    let prompt = tokenizer.encode(&options.prompt);
    if prompt.len() > steps {
        bail!("--prompt: it has {} tokens, its beginning counted, and there are {steps} steps", prompt.len());
    }
    // A step attends to two positions at least.
    let context = steps.max(2);
    let graph = language.step(context)?;
    let mut session = Session::open(graph, &options.device, &options.place)?;
    let state = State::new(config, context);
    let made = generate(options, &mut session, state, tokenizer, &prompt, steps);
    let finished = session.finish();
    let made = made.and_then(|made| finished.map(|()| made))?;
    match options.format {
        Format::Json => stdout::emit(&format!("{}\n", json(options, &session, &made)))?,
        Format::Table => {
            stdout::emit("\n")?;
            stdout::complain(report::partition(&session.plan).trim_end());
            stdout::complain(report::counters(&session).trim_end());
            stdout::complain(&speed(&session));
        }
    }
    Ok(Outcome::Good)
}

fn generate(
    options: &Options,
    session: &mut Session,
    mut state: State,
    tokenizer: &Tokenizer,
    prompt: &[usize],
    steps: usize,
) -> Result<Made> {
    let mut chooser = Chooser::new(options.temperature, options.seed);
    let (bar, mut text) = (ProgressBar::hidden(), Text::default());
    let mut made = Made::default();
    let mut emit = |piece: String| {
        let shown = if options.format == Format::Table { stdout::emit(&piece) } else { Ok(()) };
        made.text.push_str(&piece);
        shown
    };
    let mut token = BEGIN;
    for step in 0..steps {
        let name = &session.graph.name;
        let inputs = state.inputs(token).ok_or_else(|| anyhow!("{name}: step {step} is behind its context"))?;
        let outputs = session.step(&[inputs], &bar).map_err(|e| anyhow!("{}: {e}", session.graph.name))?;
        let outputs = outputs.into_iter().next().unwrap_or_default();
        let logits = state.accept(outputs).map_err(|e| anyhow!("{}: {e}", session.graph.name))?;
        let next = match prompt.get(step + 1) {
            Some(&given) => given,
            None => chooser.choose(&logits).ok_or_else(|| {
                anyhow!(
                    "{}: the logits of step {step} are no numbers; its weights are damaged",
                    options.model.display()
                )
            })?,
        };
        if next == BEGIN {
            break;
        }
        emit(text.push(&tokenizer.decode(token, next)))?;
        made.tokens.push(next);
        token = next;
    }
    emit(text.finish())?;
    Ok(made)
}

/// Bytes of tokens as text: a character can come in several tokens.
#[derive(Default)]
struct Text {
    pending: Vec<u8>,
}

impl Text {
    /// The text that is complete with these bytes.
    fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let mut text = String::new();
        let mut done = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            done += chunk.valid().len();
            let rest = self.pending.get(done..).unwrap_or_default();
            // What could be the beginning of a character waits for its end.
            let begins = std::str::from_utf8(rest).is_err_and(|e| e.error_len().is_none());
            if begins {
                break;
            }
            if !chunk.invalid().is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                done += chunk.invalid().len();
            }
        }
        self.pending.drain(..done);
        visible(&text)
    }

    /// What is left at the end.
    fn finish(&mut self) -> String {
        visible(&String::from_utf8_lossy(&std::mem::take(&mut self.pending)))
    }
}

/// A model may give any byte, and a terminal acts on some.
fn visible(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || c.is_whitespace()).collect()
}

fn speed(session: &Session) -> String {
    let profile = session.executor.profile();
    let at = |percent| profile.latency_percentile(percent).unwrap_or_default().as_secs_f64() * 1e3;
    format!(
        "{} steps, {:.1} tokens a second; wall time of a step {:.3} ms in the median, {:.3} ms for 90 %, {:.3} ms for 99 %, running \
         only ({} on this host)",
        profile.samples(),
        tokens_per_second(session).unwrap_or_default(),
        at(50.0),
        at(90.0),
        at(99.0),
        session.device_name()
    )
}

fn tokens_per_second(session: &Session) -> Option<f64> {
    let latencies = &session.executor.profile().latencies;
    let total = latencies.iter().sum::<Duration>().as_secs_f64();
    (total > 0.0).then(|| latencies.len() as f64 / total)
}

fn json(options: &Options, session: &Session, made: &Made) -> Value {
    let mut map = report::session_json(session);
    let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
    put("prompt", json!(options.prompt));
    put("text", json!(made.text));
    put("tokens", json!(made.tokens));
    put("steps", json!(session.executor.profile().samples()));
    put("temperature", json!(options.temperature));
    put("seed", json!(options.seed));
    put("tokens_per_second", json!(tokens_per_second(session)));
    put("latency_percentiles_ms", report::percentiles_json(session));
    Value::Object(map)
}

/// A temperature, for clap.
fn temperature(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|t| t.is_finite() && *t >= 0.0);
    parsed.ok_or_else(|| "give a number of at least 0, such as 0.8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_in_several_tokens_comes_when_it_is_whole() {
        let mut text = Text::default();
        assert_eq!(text.push(&[b'a', 0xe2, 0x82]), "a");
        assert_eq!(text.push(&[0xac, 0xff, b'b']), "€\u{fffd}b");
        assert_eq!(text.push(&[0xe2, b'c', 0x1b, b'\n']), "\u{fffd}c\n");
        assert_eq!((text.push(&[0xf0]), text.finish()), (String::new(), "\u{fffd}".to_owned()));
    }
}
