//! `tandem ibp`: files packed by invariant bit packing, and back.

use crate::options::Format;
use crate::table::{grouped, table};
use crate::{Outcome, file, stdout};
use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::json;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tandem_ops::ibp::archive::{self, Archive};
use tandem_ops::ibp::{Layout, Training};
use tandem_tensor::npy_bytes;

/// The end of an archive's name.
const SUFFIX: &str = "ibp";
/// How long unpacking is repeated for a figure of its speed, at least.
const MEASURED: Duration = Duration::from_millis(200);

/// What to do.
#[derive(Subcommand)]
pub enum Verb {
    /// Pack a file: without loss, and so that rows can be unpacked by themselves.
    ///
    /// The rows of an .npy file are those of its last axis. For any other file, widths from 64 to 4096 bytes are tried. What was packed is
    /// unpacked and compared before it is written.
    Pack(PackOptions),
    /// Unpack an archive, or some of its rows. One that is cut off or damaged is refused.
    Unpack(UnpackOptions),
    /// Show what an archive holds.
    Info(InfoOptions),
}

/// Options of `tandem ibp pack`.
#[derive(Args)]
pub struct PackOptions {
    /// Any file.
    file: PathBuf,
    /// Where to write the archive; - is standard output [default: FILE.ibp].
    #[arg(long, short, value_name = "ARCHIVE")]
    output: Option<PathBuf>,
    /// Bytes of a row [default: those of the last axis of an .npy file; else whatever packs best].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    row_bytes: Option<u32>,
    /// Bits of a word [default: whatever packs best].
    #[arg(long, value_name = "8|16|32|64", value_parser = word_bits)]
    word_bits: Option<usize>,
    /// Sets of masks; each row is packed with the one that makes it shortest.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=4096))]
    clusters: u16,
    /// Draws what clusters begin with.
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Form of the report.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Options of `tandem ibp unpack`.
#[derive(Args)]
pub struct UnpackOptions {
    /// What `tandem ibp pack` wrote.
    archive: PathBuf,
    /// Where to write the file; - is standard output [default: the archive's name without .ibp].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only these rows, without what is before and behind the matrix.
    #[arg(long, value_name = "BEGIN..END", value_parser = rows)]
    rows: Option<Range<usize>>,
    /// Form of the report.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Options of `tandem ibp info`.
#[derive(Args)]
pub struct InfoOptions {
    /// What `tandem ibp pack` wrote.
    archive: PathBuf,
    /// Form of the report.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Runs the verb.
pub fn run(verb: &Verb) -> Result<Outcome> {
    match verb {
        Verb::Pack(options) => pack(options),
        Verb::Unpack(options) => unpack(options),
        Verb::Info(options) => info(options),
    }
}

fn pack(options: &PackOptions) -> Result<Outcome> {
    let bytes = file::read(&options.file)?;
    let layout = layout(&bytes, options)?;
    let training = Training { clusters: options.clusters.into(), seed: options.seed };
    let named = |error| anyhow!("{}: {error}", options.file.display());
    let packed = archive::pack(&bytes, layout, training).map_err(named)?;
    let archive = Archive::open(&packed).map_err(named)?;
    let again = archive.unpack().map_err(named)?;
    if again != bytes {
        bail!(
            "{}: what was packed does not unpack to the same bytes, which is a defect of tandem; nothing is written",
            options.file.display()
        );
    }
    let output = options.output.clone().unwrap_or_else(|| {
        let mut name = options.file.clone().into_os_string();
        name.push(format!(".{SUFFIX}"));
        name.into()
    });
    let report = Report::new(&archive, packed.len(), Speed::of(&archive)?);
    report.write(&output, &packed, options.format)
}

fn unpack(options: &UnpackOptions) -> Result<Outcome> {
    let packed = file::read(&options.archive)?;
    let named = |error| anyhow!("{}: {error}", options.archive.display());
    let archive = Archive::open(&packed).map_err(named)?;
    let output = match &options.output {
        Some(output) => output.clone(),
        None if options.archive.extension().is_some_and(|end| end == SUFFIX) => options.archive.with_extension(""),
        None => bail!(
            "{}: its name does not end in .{SUFFIX}; say with --output where to unpack it",
            options.archive.display()
        ),
    };
    let bytes = match &options.rows {
        Some(rows) => archive.rows(rows.clone()),
        None => archive.unpack(),
    };
    let bytes = bytes.map_err(named)?;
    let report = Report::new(&archive, packed.len(), Speed::of(&archive)?);
    report.write(&output, &bytes, options.format)
}

fn info(options: &InfoOptions) -> Result<Outcome> {
    let packed = file::read(&options.archive)?;
    let archive = Archive::open(&packed).map_err(|error| anyhow!("{}: {error}", options.archive.display()))?;
    stdout::emit(&Report::new(&archive, packed.len(), None).text(options.format))?;
    Ok(Outcome::Good)
}

/// The rows of a file: those of an array, of a given width, or whatever packs a sample best.
fn layout(bytes: &[u8], options: &PackOptions) -> Result<Layout> {
    let word = options.word_bits.map(|bits| bits / 8);
    let array = npy_bytes(bytes).ok();
    let begin = array.as_ref().map_or(0, |(.., begin)| *begin);
    let own = array
        .and_then(|(dtype, shape, _)| (shape.rank() > 1).then(|| shape.last().map_or(0, |last| last * dtype.bytes())));
    // Rows that are too few for masks of their own, or too short, are taken apart or together.
    let own = own.filter(|&row| row >= 64 && (bytes.len() - begin) / row >= 64);
    let row = options.row_bytes.map(|row| row as usize).or(own);
    Layout::best(bytes, begin, row, word).ok_or_else(|| {
        anyhow!(
            "{}: rows of {} bytes are not of whole words of {} bits",
            options.file.display(),
            row.unwrap_or(0),
            8 * word.unwrap_or(0)
        )
    })
}

/// How fast an archive in memory is unpacked, in bytes a second.
struct Speed {
    one_thread: f64,
    threads: usize,
    all_threads: f64,
}

impl Speed {
    /// None where there are no rows.
    fn of(archive: &Archive<'_>) -> Result<Option<Speed>> {
        if archive.layout.rows == 0 {
            return Ok(None);
        }
        let threads = rayon::current_num_threads();
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
        Ok(Some(Speed { one_thread: one.install(|| rate(archive))?, threads, all_threads: rate(archive)? }))
    }
}

/// Bytes of rows a second, the best of as many runs as a moment takes.
fn rate(archive: &Archive<'_>) -> Result<f64> {
    let (begin, mut best) = (Instant::now(), Duration::MAX);
    let mut runs = 0;
    while runs < 3 || begin.elapsed() < MEASURED {
        let start = Instant::now();
        std::hint::black_box(archive.rows(0..archive.layout.rows).map_err(|error| anyhow!("{error}"))?);
        best = best.min(start.elapsed());
        runs += 1;
    }
    Ok((archive.layout.rows * archive.layout.row) as f64 / best.as_secs_f64().max(1e-9))
}

/// What is told of an archive.
struct Report<'a> {
    archive: &'a Archive<'a>,
    archive_bytes: usize,
    speed: Option<Speed>,
}

impl<'a> Report<'a> {
    fn new(archive: &'a Archive<'a>, archive_bytes: usize, speed: Option<Speed>) -> Report<'a> {
        Report { archive, archive_bytes, speed }
    }

    fn ratio(&self) -> f64 {
        self.archive.bytes() as f64 / self.archive_bytes as f64
    }

    /// Writes the result to its file, and this report to where the result is not.
    fn write(&self, output: &Path, bytes: &[u8], format: Format) -> Result<Outcome> {
        let text = self.text(format);
        if output == Path::new("-") {
            stdout::complain(text.trim_end());
            file::write(output, bytes)?;
        } else {
            file::replace(output, bytes)?;
            stdout::emit(&text)?;
        }
        Ok(Outcome::Good)
    }

    fn text(&self, format: Format) -> String {
        let (archive, layout) = (self.archive, self.archive.layout);
        match format {
            Format::Json => {
                let speed = self.speed.as_ref().map(|speed| {
                    json!({ "one_thread": speed.one_thread, "threads": speed.threads, "all_threads": speed.all_threads })
                });
                let value = json!({
                    "bytes": archive.bytes(),
                    "archive_bytes": self.archive_bytes,
                    "ratio": self.ratio(),
                    "rows": layout.rows,
                    "row_bytes": layout.row,
                    "word_bits": 8 * layout.word,
                    "rows_packed": archive.packed,
                    "clusters": archive.clusters,
                    "bytes_around_rows": archive.bytes() - layout.rows * layout.row,
                    "unpacking_bytes_per_s": speed,
                });
                format!("{value}\n")
            }
            Format::Table => {
                let mut rows = vec![
                    ("file", format!("{} bytes", grouped(archive.bytes() as u64))),
                    ("archive", format!("{} bytes", grouped(self.archive_bytes as u64))),
                    ("ratio", format!("{:.3}", self.ratio())),
                    (
                        "rows",
                        format!(
                            "{} of {} bytes, in words of {} bits",
                            grouped(layout.rows as u64),
                            layout.row,
                            8 * layout.word
                        ),
                    ),
                    ("packed", format!("{} rows; sets of masks: {}", grouped(archive.packed as u64), archive.clusters)),
                ];
                if let Some(speed) = &self.speed {
                    let rates = format!(
                        "{:.2} GB/s on one thread, {:.2} GB/s on {}, from memory, checksums included",
                        speed.one_thread / 1e9,
                        speed.all_threads / 1e9,
                        speed.threads
                    );
                    rows.push(("unpacking", rates));
                }
                table(&["what", "how much"], &[], rows.into_iter().map(|(what, much)| vec![what.to_owned(), much]))
            }
        }
    }
}

/// Bits of a word, for clap.
fn word_bits(text: &str) -> Result<usize, String> {
    let known = |bits: &usize| [8, 16, 32, 64].contains(bits);
    text.parse().ok().filter(known).ok_or_else(|| "give 8, 16, 32 or 64".to_owned())
}

/// A range of rows, for clap.
fn rows(text: &str) -> Result<Range<usize>, String> {
    let parts = text.split_once("..").and_then(|(begin, end)| Some(begin.parse().ok()?..end.parse().ok()?));
    parts
        .filter(|rows| rows.start <= rows.end)
        .ok_or_else(|| "give the first row and the one behind the last, as 5..9".to_owned())
}
