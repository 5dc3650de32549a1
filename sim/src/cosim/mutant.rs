//! Mutants: small faults put into the emitted Verilog, to show that co-simulation finds them.
//!
//! A mutant replaces one expression of one module by another. All of them go into one design, each behind a number that is
//! chosen when a simulation starts (`+mutant=3`), so that one build of the model serves all:
//!
//! ```text
//! count + 1    becomes    ((mutant == 3) ? (count) : (count + 1))
//! ```
//!
//! The list is data, `sim/mutants.toml`. A placeholder `<w>` (lower case letters in angle brackets) stands for any word or number,
//! the same one wherever it comes up, because widths follow from the configuration:
//!
//! ```toml
//! [[mutant]]
//! name = "load-address-off-by-one"
//! class = "address"
//! module = "load"
//! from = "row_addr - <w>'h1"
//! to = "row_addr - <w>'h0"
//! doc = "A load goes on for one row more."
//! ```

use serde::Deserialize;
use thiserror::Error;

/// A fault to put into the hardware.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// A name, unique in the list.
    pub name: String,
    /// What kind of fault it is: token, address, shift, hazard, handshake ...
    pub class: String,
    /// The Verilog module that holds the expression.
    pub module: String,
    /// The expression as the Verilog has it; runs of white space match any white space.
    pub from: String,
    /// The expression that takes its place.
    pub to: String,
    /// What stands right before the expression, where that tells it from others that read alike.
    #[serde(default)]
    pub after: Option<String>,
    /// Which of several places, from 1; left out where there is only one.
    #[serde(default)]
    pub occurrence: Option<usize>,
    /// Whether the memory bus is held up at random while the mutant is looked for; it needs that to show.
    #[serde(default)]
    pub stress: bool,
    /// What goes wrong.
    pub doc: String,
}

/// Why mutants cannot be put into a design. All are Invalid: the list and the hardware do not fit together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MutantError {
    /// The list does not parse.
    #[error("mutants: {0}")]
    Toml(String),
    /// A field that is empty, or a name that stands twice.
    #[error("mutant {name}: {problem}")]
    Field {
        /// The mutant.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A module that the design does not have.
    #[error("mutant {name}: the design has no module `{module}`")]
    Module {
        /// The mutant.
        name: String,
        /// The module.
        module: String,
    },
    /// An expression that is not in its module as often as it should be.
    #[error("mutant {name}: `{from}` stands {found} times in module `{module}`, {wanted}")]
    Expression {
        /// The mutant.
        name: String,
        /// The expression.
        from: String,
        /// The module.
        module: String,
        /// How often it stands there.
        found: usize,
        /// What was expected.
        wanted: String,
    },
    /// Two mutants that replace overlapping, different expressions.
    #[error(
        "mutant {name}: its expression overlaps that of mutant {other}; let one contain the other, or take another place"
    )]
    Overlap {
        /// The mutant.
        name: String,
        /// The other one.
        other: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    mutant: Vec<Mutant>,
}

/// A place in the Verilog text and the mutants that change it, each with its expression.
struct Site {
    start: usize,
    end: usize,
    mutants: Vec<(usize, String)>,
}

/// A piece of an expression to look for.
enum Part<'a> {
    /// Any white space.
    Space,
    /// These characters.
    Text(&'a str),
    /// A word or a number.
    Hole(&'a str),
}

/// What placeholders stand for.
type Captures<'a> = Vec<(&'a str, &'a str)>;

/// Reads a list of mutants from TOML.
///
/// # Errors
/// [`MutantError::Toml`], [`MutantError::Field`].
pub fn parse_mutants(text: &str) -> Result<Vec<Mutant>, MutantError> {
    let file: File = toml::from_str(text).map_err(|e| MutantError::Toml(e.to_string().trim().to_owned()))?;
    for (number, mutant) in file.mutant.iter().enumerate() {
        let wrong = |problem: &str| MutantError::Field { name: mutant.name.clone(), problem: problem.to_owned() };
        let fields = [&mutant.name, &mutant.class, &mutant.module, &mutant.from, &mutant.to, &mutant.doc];
        if fields.iter().any(|field| field.trim().is_empty()) {
            return Err(wrong("no field may be empty"));
        }
        if mutant.from.split_whitespace().eq(mutant.to.split_whitespace()) {
            return Err(wrong("`from` and `to` are the same"));
        }
        if ![&mutant.from, &mutant.to].iter().all(|text| is_balanced(text)) {
            return Err(wrong("`from` and `to` are whole expressions, but a bracket in them has no partner"));
        }
        if mutant.occurrence == Some(0) {
            return Err(wrong("occurrences are counted from 1"));
        }
        if file.mutant.iter().take(number).any(|other| other.name == mutant.name) {
            return Err(wrong("two mutants have this name"));
        }
    }
    Ok(file.mutant)
}

/// Puts mutants into a design. The first has number 1; with number 0, or without `+mutant=`, the design is as it was.
///
/// # Errors
/// [`MutantError`] naming the mutant that does not fit the Verilog.
pub fn mutate(verilog: &str, mutants: &[Mutant]) -> Result<String, MutantError> {
    let mut sites: Vec<Site> = Vec::new();
    let mut headers = Vec::new();
    for (index, mutant) in mutants.iter().enumerate() {
        let (header, end) = module(verilog, &mutant.module)
            .ok_or_else(|| MutantError::Module { name: mutant.name.clone(), module: mutant.module.clone() })?;
        headers.push(header);
        let (from, to, replacement) = locate(verilog, (header, end), mutant)?;
        match sites.iter_mut().find(|site| (site.start, site.end) == (from, to)) {
            Some(site) => site.mutants.push((index, replacement)),
            None => sites.push(Site { start: from, end: to, mutants: vec![(index, replacement)] }),
        }
    }
    // The outer one of two nested sites comes first.
    sites.sort_by_key(|site| (site.start, std::cmp::Reverse(site.end)));
    let overlap = sites.iter().enumerate().find_map(|(at, site)| {
        let later = sites.iter().skip(at + 1).take_while(|other| other.start < site.end);
        Some((site, later.into_iter().find(|other| other.end > site.end)?))
    });
    if let Some((site, other)) = overlap {
        let name = |site: &Site| site.mutants.first().map_or_else(String::new, |(at, _)| mutants[*at].name.clone());
        return Err(MutantError::Overlap { name: name(other), other: name(site) });
    }
    headers.sort_unstable();
    headers.dedup();
    let mut out = String::with_capacity(verilog.len() + mutants.len() * 80);
    let mut at = 0;
    for header in headers {
        emit(&mut out, verilog, (at, header), &sites);
        out.push_str(SELECT);
        at = header;
    }
    emit(&mut out, verilog, (at, verilog.len()), &sites);
    Ok(out)
}

/// What every module with a mutant needs.
const SELECT: &str = "
  // Which mutant is alive; 0 is none.
  integer mutant;
  initial if (!$value$plusargs(\"mutant=%d\", mutant)) mutant = 0;
";

/// Writes a part of the text with the sites in it replaced.
fn emit(out: &mut String, text: &str, (start, end): (usize, usize), sites: &[Site]) {
    let mut at = start;
    let inside = |site: &Site, at: usize| site.start >= at && site.end <= end;
    for (number, site) in sites.iter().enumerate() {
        if !inside(site, at) {
            continue;
        }
        out.push_str(text.get(at..site.start).unwrap_or_default());
        for (mutant, to) in &site.mutants {
            out.push_str(&format!("((mutant == {}) ? ({to}) : ", mutant + 1));
        }
        out.push('(');
        // Sites within this one follow it.
        emit(out, text, (site.start, site.end), sites.get(number + 1..).unwrap_or_default());
        out.push(')');
        site.mutants.iter().for_each(|_| out.push(')'));
        at = site.end;
    }
    out.push_str(text.get(at..end).unwrap_or_default());
}

/// The end of the header, and the end of a module.
fn module(text: &str, name: &str) -> Option<(usize, usize)> {
    let code = without_comments(text);
    let mut from = 0;
    loop {
        let start = from + code.get(from..)?.find("module")?;
        from = start + "module".len();
        let before = code.get(..start)?.chars().next_back();
        let rest = code.get(from..)?;
        let trimmed = rest.trim_start();
        let whole_word = before.is_none_or(|c| !is_word(c)) && rest.starts_with(char::is_whitespace);
        let named = trimmed.strip_prefix(name).is_some_and(|after| !after.starts_with(is_word));
        if whole_word && named {
            let header = from + rest.find(';')? + 1;
            let end = from + rest.find("endmodule")?;
            return (header <= end).then_some((header, end));
        }
    }
}

/// The place of a mutant's expression in the body of its module, and what takes its place.
fn locate(text: &str, (start, end): (usize, usize), mutant: &Mutant) -> Result<(usize, usize, String), MutantError> {
    let code = without_comments(text);
    let parts = parts(&mutant.from);
    let mut found = Vec::new();
    let mut at = start;
    while at < end {
        match matches_at(&code, at, end, &parts) {
            Some((to, captures)) => {
                if mutant.after.as_ref().is_none_or(|after| stands_behind(&code, at, after)) {
                    let replacement = captures.iter().fold(mutant.to.clone(), |replacement, (name, word)| {
                        replacement.replace(&format!("<{name}>"), word)
                    });
                    found.push((at, to, replacement));
                }
                at = to;
            }
            None => at += 1,
        }
    }
    let wanted = match mutant.occurrence {
        None => "and must stand there once, or the mutant says which `occurrence`".to_owned(),
        Some(occurrence) => format!("and the mutant is for occurrence {occurrence}"),
    };
    let place = match (mutant.occurrence, found.as_slice()) {
        (None, [only]) => Some(only.clone()),
        (Some(occurrence), all) => all.get(occurrence - 1).cloned(),
        (None, _) => None,
    };
    place.ok_or_else(|| MutantError::Expression {
        name: mutant.name.clone(),
        from: mutant.from.clone(),
        module: mutant.module.clone(),
        found: found.len(),
        wanted,
    })
}

/// Whether the text before a place ends with certain words, whatever white space separates them.
fn stands_behind(text: &str, at: usize, after: &str) -> bool {
    let code = text.get(..at).unwrap_or_default();
    let before = after.split_whitespace().rev().try_fold(code, |code, word| code.trim_end().strip_suffix(word));
    let joined = |before: &str| after.starts_with(is_word) && before.ends_with(is_word);
    before.is_some_and(|before| !joined(before))
}

/// The end of an expression that stands at a place and is no part of longer words, and what its placeholders stand for.
fn matches_at<'a>(text: &'a str, start: usize, end: usize, parts: &[Part<'a>]) -> Option<(usize, Captures<'a>)> {
    let mut captures: Captures = Vec::new();
    let mut at = start;
    for part in parts {
        let rest = text.get(at..end)?;
        at += match part {
            Part::Space => Some(rest.len() - rest.trim_start().len()).filter(|&space| space > 0)?,
            Part::Text(text) => rest.starts_with(text).then_some(text.len())?,
            Part::Hole(name) => {
                let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
                let known = captures.iter().find(|(known, _)| known == name).map(|(_, word)| *word);
                if word.is_empty() || known.is_some_and(|known| known != word) {
                    return None;
                }
                captures.push((name, word));
                word.len()
            }
        };
    }
    let joined = |at: usize| {
        let (before, after) = (text.get(..at)?.chars().next_back()?, text.get(at..)?.chars().next()?);
        Some(is_word(before) && is_word(after))
    };
    (joined(start) != Some(true) && joined(at) != Some(true)).then_some((at, captures))
}

/// Cuts an expression into text, white space and placeholders.
fn parts(from: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = from.trim();
    while let Some(first) = rest.chars().next() {
        let hole = rest.strip_prefix('<').and_then(|inner| inner.split_once('>')).map(|(name, _)| name);
        let len = if first.is_whitespace() {
            parts.push(Part::Space);
            rest.len() - rest.trim_start().len()
        } else if let Some(name) = hole.filter(|name| is_placeholder(name)) {
            parts.push(Part::Hole(name));
            name.len() + 2
        } else {
            let len =
                rest.char_indices().skip(1).find(|(_, c)| *c == '<' || c.is_whitespace()).map_or(rest.len(), |at| at.0);
            parts.push(Part::Text(&rest[..len]));
            len
        };
        rest = rest.get(len..).unwrap_or_default();
    }
    parts
}

fn is_balanced(text: &str) -> bool {
    let mut open = Vec::new();
    let balanced = text.chars().all(|c| match c {
        '(' | '[' | '{' => {
            open.push(c);
            true
        }
        ')' => open.pop() == Some('('),
        ']' => open.pop() == Some('['),
        '}' => open.pop() == Some('{'),
        _ => true,
    });
    balanced && open.is_empty()
}

fn is_placeholder(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase())
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$'
}

/// The text with comments blanked out, so that every place stays where it is.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("//").into_iter().chain(rest.find("/*")).min() {
        let (code, comment) = rest.split_at(at);
        let len = if comment.starts_with("//") {
            comment.find('\n').unwrap_or(comment.len())
        } else {
            comment.find("*/").map_or(comment.len(), |end| end + 2)
        };
        out.push_str(code);
        out.extend(comment.bytes().take(len).map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        rest = comment.get(len..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOY: &str = "\
// module counter is documented here: count + 1
module counter(clock, reset, step, count, done);
  input clock, reset;
  input [7:0] step;
  output reg [7:0] count;
  output done;
  /* count + 1 in a comment does not count */
  assign done = (count == 8'd7) & (step != 8'd0);
  wire [7:0] next = reset ? 8'd0 : count + step;
  always @(posedge clock) count <= next;
endmodule

module counters(clock, reset, done);
  input clock, reset;
  output done;
  wire [7:0] count;
  counter inner(.clock(clock), .reset(reset), .step(8'd1), .count(count), .done(done));
  wire even = count == 8'd7, odd = count == 8'd7;
endmodule
";

    fn mutant(name: &str, module: &str, from: &str, to: &str) -> Mutant {
        let owned = str::to_owned;
        Mutant {
            name: owned(name),
            class: owned("test"),
            module: owned(module),
            from: owned(from),
            to: owned(to),
            after: None,
            occurrence: None,
            stress: false,
            doc: owned("A fault."),
        }
    }

    #[test]
    fn a_mutant_is_a_choice_at_run_time() {
        let text = mutate(TOY, &[mutant("a", "counter", "count + step", "count")]).unwrap();
        assert!(text.contains("reset ? 8'd0 : ((mutant == 1) ? (count) : (count + step));"), "{text}");
        let header =
            "count, done);\n  // Which mutant is alive; 0 is none.\n  integer mutant;\n  initial if (!$value$plusargs(";
        assert!(text.contains(header), "{text}");
        assert_eq!(text.matches("integer mutant").count(), 1);
        assert_eq!(mutate(TOY, &[]).unwrap(), TOY);
    }

    #[test]
    fn placeholders_stand_for_words_and_numbers() {
        let text =
            mutate(TOY, &[mutant("a", "counter", "reset ? <w>'d<n> : count", "reset ? <w>'d<n>+<w>'d1 : count")]);
        assert!(
            text.unwrap().contains("((mutant == 1) ? (reset ? 8'd0+8'd1 : count) : (reset ? 8'd0 : count)) + step;")
        );
        // The same placeholder is the same text, and `<=` begins none.
        let twice = mutant("b", "counter", "<x> == <w>'d7) & (<x> !=", "1'b0");
        assert!(matches!(mutate(TOY, &[twice]), Err(MutantError::Expression { found: 0, .. })));
        let compare = mutant("c", "counter", "count <= next", "count <= step");
        assert!(mutate(TOY, &[compare]).is_ok());
    }

    #[test]
    fn mutants_of_one_place_and_of_nested_places_live_together() {
        let list = [
            mutant("a", "counter", "count == 8'd7", "count == 8'd6"),
            mutant("b", "counter", "count == 8'd7", "1'b0"),
            mutant("c", "counter", "(count  ==\n8'd7) & (step != 8'd0)", "step != 8'd0"),
            Mutant { occurrence: Some(2), ..mutant("d", "counters", "count == 8'd7", "1'b1") },
        ];
        let text = mutate(TOY, &list).unwrap();
        let done = "assign done = ((mutant == 3) ? (step != 8'd0) : ((((mutant == 1) ? (count == 8'd6) : \
                    ((mutant == 2) ? (1'b0) : (count == 8'd7)))) & (step != 8'd0)));";
        assert!(text.contains(done), "{text}");
        assert!(text.contains("even = count == 8'd7, odd = ((mutant == 4) ? (1'b1) : (count == 8'd7));"), "{text}");
        assert_eq!(text.matches("integer mutant").count(), 2);
    }

    #[test]
    fn a_list_that_does_not_fit_the_verilog_names_the_mutant() {
        let cases = [
            (mutant("a", "count", "x", "y"), "mutant a: the design has no module `count`"),
            (
                mutant("b", "counter", "count + 1", "count"),
                "mutant b: `count + 1` stands 0 times in module `counter`, and must stand there once, or the mutant says \
                 which `occurrence`",
            ),
            (
                mutant("c", "counters", "count == 8'd7", "1'b0"),
                "mutant c: `count == 8'd7` stands 2 times in module `counters`, and must stand there once, or the mutant \
                 says which `occurrence`",
            ),
            (
                Mutant { occurrence: Some(3), ..mutant("d", "counters", "count == 8'd7", "1'b0") },
                "mutant d: `count == 8'd7` stands 2 times in module `counters`, and the mutant is for occurrence 3",
            ),
            // Part of a longer word.
            (
                mutant("e", "counter", "tep !", "x"),
                "mutant e: `tep !` stands 0 times in module `counter`, and must stand there once, or the mutant says \
                 which `occurrence`",
            ),
        ];
        for (mutant, message) in cases {
            assert_eq!(mutate(TOY, &[mutant]).unwrap_err().to_string(), message);
        }
        let both =
            [mutant("f", "counter", "(count == 8'd7) & (step", "x"), mutant("g", "counter", "& (step != 8'd0)", "y")];
        let error = mutate(TOY, &both).unwrap_err();
        assert!(error.to_string().starts_with("mutant g: its expression overlaps that of mutant f"), "{error}");
    }

    #[test]
    fn a_list_is_read_from_toml_and_checked() {
        let text =
            "[[mutant]]\nname = \"a\"\nclass = \"token\"\nmodule = \"m\"\nfrom = \"x\"\nto = \"y\"\ndoc = \"d\"\n";
        let list = parse_mutants(text).unwrap();
        assert_eq!((list.len(), list[0].occurrence), (1, None));
        assert_eq!(parse_mutants("").unwrap(), []);
        let cases = [
            (text.replace("\"y\"", "\" x\""), "mutant a: `from` and `to` are the same"),
            (text.replace("\"d\"", "\"\""), "mutant a: no field may be empty"),
            (text.repeat(2), "mutant a: two mutants have this name"),
            (
                text.replace("\"y\"", "\"y + {z, (u})\""),
                "mutant a: `from` and `to` are whole expressions, but a bracket in them has no partner",
            ),
            (format!("{text}occurrence = 0\n"), "mutant a: occurrences are counted from 1"),
        ];
        for (text, message) in cases {
            assert_eq!(parse_mutants(&text).unwrap_err().to_string(), message);
        }
        let error = parse_mutants(&format!("{text}what = 1\n")).unwrap_err();
        assert!(matches!(&error, MutantError::Toml(text) if text.contains("unknown field `what`")), "{error}");
    }
}
