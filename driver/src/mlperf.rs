//! The line protocol of the MLPerf Tiny runner, as the side that is measured.
//!
//! The runner sends commands that end with `%`; every reply ends with the line `m-ready`. It loads bytes into a buffer, has
//! inferences run between two time stamps, and reads the results:
//!
//! ```text
//! name%  profile%  help%  timestamp%
//! db load N%   db HEX%   db print [N [OFFSET]]%
//! infer N [WARM-UPS]%   results%
//! ```
//!
//! [`Runner`] is the protocol alone: bytes in, lines out. What a model is, how it is run and what time it is, is for a [`Target`]
//! to say.
//!
//! # Source
//! `benchmark/api` and `benchmark/runner` of MLCommons' `tiny` repository.

use std::fmt::Write;

/// What the runner looks for in the reply to `profile`.
const PROFILE: &str = "ULPMark for tinyML Firmware V0.0.1";
/// Warm-ups where `infer` names none.
const WARM_UPS: u64 = 10;
/// Characters of a command beyond which it is refused; the runner sends at most 70.
const MAX_COMMAND: usize = 4096;
/// Bytes in a line of `db print`.
const PRINTED: usize = 8;

/// What is measured.
pub trait Target {
    /// Who made the device, for the runner's log.
    fn name(&self) -> String;

    /// The benchmark's name of the model, such as `ic01`.
    fn model(&self) -> String;

    /// The bytes that an input has.
    fn input_bytes(&self) -> usize;

    /// Makes these bytes the input.
    ///
    /// # Errors
    /// One sentence.
    fn load(&mut self, input: &[u8]) -> Result<(), String>;

    /// Runs once on the input.
    ///
    /// # Errors
    /// One sentence.
    fn infer(&mut self) -> Result<(), String>;

    /// The results of the last run, as real numbers.
    ///
    /// # Errors
    /// One sentence, such as that nothing has run.
    fn results(&mut self) -> Result<Vec<f32>, String>;

    /// The time in microseconds since some moment that does not change.
    fn now_us(&mut self) -> u64;
}

/// The protocol's state: a command that is not complete, and the buffer.
#[derive(Debug)]
pub struct Runner<T> {
    target: T,
    command: String,
    too_long: bool,
    /// Bytes that `db load` has announced, and those that have come.
    expected: usize,
    buffer: Vec<u8>,
}

/// Where lines go, one at a time and without their ends, as soon as they are known.
pub type Lines<'a> = &'a mut dyn FnMut(&str);

impl<T: Target> Runner<T> {
    /// The protocol for a target.
    pub fn new(target: T) -> Runner<T> {
        Runner { target, command: String::new(), too_long: false, expected: 0, buffer: Vec::new() }
    }

    /// What is measured.
    pub fn target(&mut self) -> &mut T {
        &mut self.target
    }

    /// What a device says when it starts.
    pub fn greet(&mut self, lines: Lines<'_>) {
        lines("m-timestamp-mode-performance");
        lines("m-init-done");
        lines("m-ready");
    }

    /// Takes what the runner sent, and carries out each command that is complete.
    pub fn feed(&mut self, bytes: &[u8], lines: Lines<'_>) {
        for &byte in bytes {
            match byte {
                b'%' => {
                    let command = std::mem::take(&mut self.command);
                    if std::mem::take(&mut self.too_long) {
                        lines("e-[The command is too long]");
                    } else if let Err(complaint) = self.carry_out(&command, lines) {
                        lines(&format!("e-[{complaint}]"));
                    }
                    lines("m-ready");
                }
                // Ends of lines between commands are a courtesy of terminals.
                b'\r' | b'\n' | 0 => {}
                _ if self.command.len() >= MAX_COMMAND => self.too_long = true,
                _ => self.command.push(if byte.is_ascii() { char::from(byte) } else { '?' }),
            }
        }
    }

    fn carry_out(&mut self, command: &str, lines: Lines<'_>) -> Result<(), String> {
        let mut words = command.split_ascii_whitespace();
        let Some(verb) = words.next() else { return Ok(()) };
        let rest: Vec<&str> = words.collect();
        match verb {
            "name" => lines(&format!("m-name-dut-[{}]", bracketed(&self.target.name()))),
            "profile" => {
                lines(&format!("m-profile-[{PROFILE}]"));
                lines(&format!("m-model-[{}]", bracketed(&self.target.model())));
            }
            "help" => HELP.iter().for_each(|line| lines(line)),
            "timestamp" => self.lap(lines),
            "db" => return self.buffer(&rest, lines),
            "infer" => return self.infer(&rest, lines),
            "results" => return self.results(lines),
            other => return Err(format!("Unknown command: {}", bracketed(other))),
        }
        Ok(())
    }

    fn buffer(&mut self, words: &[&str], lines: Lines<'_>) -> Result<(), String> {
        let (most, usage) = (self.target.input_bytes(), "Command 'db' takes load N, print [N [OFFSET]], or hex digits");
        match words {
            [] => Err(usage.to_owned()),
            ["load", count] => {
                let count = number(count)?;
                if count == 0 || count > most as u64 {
                    return Err(format!("Command 'db load' takes 1 to {most} bytes for this model, not {count}"));
                }
                (self.expected, self.buffer) = (count as usize, Vec::with_capacity(count as usize));
                lines(&format!("m-[Expecting {count} bytes]"));
                Ok(())
            }
            ["load", ..] => Err("Command 'db load' takes the number of bytes".to_owned()),
            ["print", range @ ..] => {
                let (count, offset) = match range {
                    [] => (u64::MAX, 0),
                    [count] => (number(count)?, 0),
                    [count, offset, ..] => (number(count)?, number(offset)?),
                };
                let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(self.buffer.len());
                let end = begin.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)).min(self.buffer.len());
                for bytes in self.buffer.get(begin..end).unwrap_or_default().chunks(PRINTED) {
                    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                    lines(&format!("m-buffer-{}", digits.join("-")));
                }
                Ok(())
            }
            [digits] => self.fill(digits, lines),
            _ => Err(usage.to_owned()),
        }
    }

    fn fill(&mut self, digits: &str, lines: Lines<'_>) -> Result<(), String> {
        if self.buffer.len() >= self.expected {
            return Err("The buffer is full; send 'db load' first".to_owned());
        }
        let pairs = digits.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> = pairs
            .map(|pair| {
                let digit = |at: usize| char::from(*pair.get(at)?).to_digit(16);
                u8::try_from(16 * digit(0)? + digit(1)?).ok()
            })
            .collect();
        let bytes = bytes.ok_or("Bytes are two hex digits each".to_owned())?;
        // What is beyond the announced bytes is disregarded.
        let room = self.expected - self.buffer.len();
        self.buffer.extend(bytes.iter().take(room));
        if self.buffer.len() == self.expected {
            lines("m-load-done");
        }
        Ok(())
    }

    fn infer(&mut self, words: &[&str], lines: Lines<'_>) -> Result<(), String> {
        let (count, warm_ups) = match words {
            [] => (1, WARM_UPS),
            [count] => (number(count)?, WARM_UPS),
            [count, warm_ups, ..] => (number(count)?, number(warm_ups)?),
        };
        if count == 0 {
            return Err("Inference iterations must be >0".to_owned());
        }
        let (has, takes) = (self.buffer.len(), self.target.input_bytes());
        if has != takes {
            return Err(format!("The model takes {takes} bytes and {has} are loaded"));
        }
        self.target.load(&self.buffer)?;
        lines(&format!("m-warmup-start-{warm_ups}"));
        (0..warm_ups).try_for_each(|_| self.target.infer())?;
        lines("m-warmup-done");
        lines(&format!("m-infer-start-{count}"));
        self.lap(lines);
        (0..count).try_for_each(|_| self.target.infer())?;
        self.lap(lines);
        lines("m-infer-done");
        self.results(lines)
    }

    fn results(&mut self, lines: Lines<'_>) -> Result<(), String> {
        let mut text = String::new();
        for (index, value) in self.target.results()?.into_iter().enumerate() {
            let _ = write!(text, "{}{value:.3}", if index == 0 { "" } else { "," });
        }
        lines(&format!("m-results-[{text}]"));
        Ok(())
    }

    fn lap(&mut self, lines: Lines<'_>) {
        let now = self.target.now_us();
        lines(&format!("m-lap-us-{now}"));
    }
}

const HELP: &[&str] = &[
    PROFILE,
    "",
    "help                  : these lines",
    "name                  : the name of the device",
    "profile               : the profile and the model",
    "timestamp             : the time in microseconds",
    "db load N             : expect N bytes",
    "db HH[HH]*            : the next bytes, as hex digits",
    "db print [N [OFFSET]] : the bytes that came",
    "infer N [W=10]        : W warm-ups, then N inferences between two time stamps, then the results",
    "results               : the results of the last inference",
];

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("'{}' is no number", bracketed(text)))
}

/// Text that can stand between brackets on one line.
fn bracketed(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '[' | ']' | '%') { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds up its input.
    struct Adder {
        input: Vec<u8>,
        sum: Option<u32>,
        runs: u64,
    }

    impl Target for Adder {
        fn name(&self) -> String {
            "an [adder]".to_owned()
        }

        fn model(&self) -> String {
            "ic01".to_owned()
        }

        fn input_bytes(&self) -> usize {
            20
        }

        fn load(&mut self, input: &[u8]) -> Result<(), String> {
            self.input = input.to_vec();
            Ok(())
        }

        fn infer(&mut self) -> Result<(), String> {
            self.runs += 1;
            let sum = self.input.iter().copied().map(u32::from).sum();
            self.sum = Some(sum);
            if sum > 1000 { Err("the device was unplugged".to_owned()) } else { Ok(()) }
        }

        fn results(&mut self) -> Result<Vec<f32>, String> {
            let sum = self.sum.ok_or("Nothing has run".to_owned())?;
            Ok(vec![sum as f32, -0.5])
        }

        fn now_us(&mut self) -> u64 {
            1000 * self.runs
        }
    }

    fn runner() -> Runner<Adder> {
        Runner::new(Adder { input: vec![], sum: None, runs: 0 })
    }

    fn say(runner: &mut Runner<Adder>, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        runner.feed(text.as_bytes(), &mut |line| lines.push(line.to_owned()));
        lines
    }

    fn load(runner: &mut Runner<Adder>, byte: &str) {
        say(runner, "db load 20%");
        assert_eq!(say(runner, &format!("db {}%", byte.repeat(13))), ["m-ready"]);
        assert_eq!(say(runner, &format!("db {}%", byte.repeat(13))), ["m-load-done", "m-ready"]);
    }

    #[test]
    fn a_session_goes_as_the_runner_expects() {
        let mut runner = runner();
        let mut greeting = Vec::new();
        runner.greet(&mut |line| greeting.push(line.to_owned()));
        assert_eq!(greeting, ["m-timestamp-mode-performance", "m-init-done", "m-ready"]);
        assert_eq!(say(&mut runner, "name%"), ["m-name-dut-[an ?adder?]", "m-ready"]);
        let profile = ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[ic01]", "m-ready"];
        assert_eq!(say(&mut runner, "profile%"), profile);
        assert_eq!(say(&mut runner, "timestamp%"), ["m-lap-us-0", "m-ready"]);
        assert_eq!(say(&mut runner, "db load 20%"), ["m-[Expecting 20 bytes]", "m-ready"]);
        load(&mut runner, "0A");
        let printed = say(&mut runner, "db print%");
        assert_eq!(printed[0], "m-buffer-0a-0a-0a-0a-0a-0a-0a-0a");
        assert_eq!((printed.len(), printed[2].as_str()), (4, "m-buffer-0a-0a-0a-0a"));
        assert_eq!(say(&mut runner, "db print 2 19%"), ["m-buffer-0a", "m-ready"]);
        let run = [
            "m-warmup-start-2",
            "m-warmup-done",
            "m-infer-start-5",
            "m-lap-us-2000",
            "m-lap-us-7000",
            "m-infer-done",
            "m-results-[200.000,-0.500]",
            "m-ready",
        ];
        assert_eq!(say(&mut runner, "infer 5 2%"), run);
        assert_eq!(say(&mut runner, "results%"), ["m-results-[200.000,-0.500]", "m-ready"]);
        say(&mut runner, "infer%");
        assert_eq!(runner.target().runs, 18);
        assert!(say(&mut runner, "help%").iter().any(|line| line.starts_with("db load N")));
    }

    #[test]
    fn commands_arrive_in_any_pieces() {
        let mut runner = runner();
        assert!(say(&mut runner, "\r\nna").is_empty());
        assert_eq!(say(&mut runner, "me%time"), ["m-name-dut-[an ?adder?]", "m-ready"]);
        assert_eq!(say(&mut runner, "stamp%\n%"), ["m-lap-us-0", "m-ready", "m-ready"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_the_next_command_works() {
        let mut runner = runner();
        for (command, words) in [
            ("nonsense [x]%", "Unknown command: nonsense"),
            ("results%", "Nothing has run"),
            ("infer 1 0%", "takes 20 bytes and 0 are loaded"),
            ("infer 0%", "must be >0"),
            ("infer -1%", "'-1' is no number"),
            ("db%", "takes load N"),
            ("db load%", "number of bytes"),
            ("db load 0%", "1 to 20 bytes"),
            ("db load 99999999999999%", "1 to 20 bytes"),
            ("db 00%", "send 'db load' first"),
        ] {
            let lines = say(&mut runner, command);
            assert!(lines.len() == 2 && lines[0].starts_with("e-[") && lines[0].contains(words), "{lines:?}");
            assert_eq!(lines[1], "m-ready");
        }
        say(&mut runner, "db load 4%");
        for digits in ["0", "0g", "zz", "+1"] {
            assert!(say(&mut runner, &format!("db {digits}%"))[0].contains("two hex digits"), "{digits}");
        }
        let long = format!("{}%", "x".repeat(100_000));
        assert_eq!(say(&mut runner, &long), ["e-[The command is too long]", "m-ready"]);
        load(&mut runner, "ff");
        assert_eq!(say(&mut runner, "infer 1 0%")[3..], ["m-lap-us-0", "e-[the device was unplugged]", "m-ready"]);
        assert_eq!(say(&mut runner, "timestamp%"), ["m-lap-us-1000", "m-ready"]);
    }
}
