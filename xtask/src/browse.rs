//! Pages of `tandem report` in a browser: what only a browser knows of them.

use crate::{call, cargo, root};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names of browsers that can be told to draw a page; `CHROMIUM` names another one.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// Widths of a desk and of a telephone, in pixels.
const WIDTHS: [u32; 2] = [1280, 390];
/// Height of the first look; pictures are as high as the page is.
const HEIGHT: u32 = 900;
/// Where pictures and prints go, below the root.
const FOLDER: &str = "target/report-check";

/// Opens pages, or one of the digits network, at each width: nothing may be on the console, wider than the page, cut off, too
/// small or upon other text. Leaves a picture of each, and a print.
pub fn check(pages: &[String]) -> Result<()> {
    let browser = browser()?;
    let folder = root().join(FOLDER);
    std::fs::create_dir_all(&folder)?;
    let pages = match pages {
        [] => vec![digits(&folder)?],
        given => given.iter().map(PathBuf::from).collect(),
    };
    let mut problems = Vec::new();
    for page in &pages {
        let page = page.canonicalize().with_context(|| format!("{}: it cannot be opened", page.display()))?;
        let name = page.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for width in WIDTHS {
            let stem = folder.join(format!("{name}-{width}"));
            let (found, height) = look(&browser, &page, &stem, width)?;
            let picture = format!("--screenshot={}", stem.with_extension("png").display());
            draw(&browser, &frame(&page, &stem, (width, height), "")?, &[&picture], (width, height))?;
            problems.extend(found.into_iter().map(|problem| format!("{name} at {width}: {problem}")));
        }
        let print = format!("--print-to-pdf={}", folder.join(&name).with_extension("pdf").display());
        draw(&browser, &page, &[&print, "--no-pdf-header-footer"], (WIDTHS[0], HEIGHT))?;
        println!("{}", folder.join(&name).display());
    }
    if !problems.is_empty() {
        bail!("{} problems:\n{}", problems.len(), problems.join("\n"));
    }
    Ok(())
}

fn browser() -> Result<PathBuf> {
    let starts = |name: &PathBuf| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success());
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let found = named.into_iter().chain(BROWSERS.map(PathBuf::from)).find(starts);
    found.context("there is no Chromium here; install one, or name it in CHROMIUM")
}

/// A page to look at.
fn digits(folder: &Path) -> Result<PathBuf> {
    let page = folder.join("digits.html");
    let model = "models/digits";
    let mut report = cargo();
    report.args(["run", "--quiet", "--package", "tandem-cli", "--", "report", &format!("{model}/digits_int8.tflite")]);
    report.args(["--inputs", &format!("{model}/inputs_i8.bin"), "--labels", &format!("{model}/labels.csv")]);
    report.args(["--device", "fsim,cpu", "--cpu-times", "50", "--in-flight", "4", "--output"]);
    call(report.arg(&page))?;
    Ok(page)
}

/// What is wrong with a page at a width, and how high it is.
fn look(browser: &Path, page: &Path, stem: &Path, width: u32) -> Result<(Vec<String>, u32)> {
    let frame = frame(page, stem, (width, HEIGHT), include_str!("browse.js"))?;
    let text = draw(browser, &frame, &["--dump-dom"], (width, HEIGHT))?;
    let (mut found, mut height) = (Vec::new(), None);
    for line in text.lines() {
        if let Some(problem) = line.strip_prefix("problem: ") {
            found.push(problem.to_owned());
        }
        height = line.strip_prefix("height: ").and_then(|h| h.parse().ok()).or(height);
    }
    Ok((found, height.context("the browser did not look at the page")?))
}

/// A page with another one in a frame of that size, and a script that looks at it.
fn frame(page: &Path, stem: &Path, (width, height): (u32, u32), script: &str) -> Result<PathBuf> {
    let html = format!(
        "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<body style=\"margin:0\">\n\
         <iframe src=\"file://{}\" style=\"border:0;display:block;width:{width}px;height:{height}px\"></iframe>\n\
         <pre hidden></pre>\n<script>\n{script}</script>\n",
        page.display()
    );
    let path = stem.with_extension("frame.html");
    std::fs::write(&path, html)?;
    Ok(path)
}

/// Has the browser draw a page, and gives what it prints.
fn draw(browser: &Path, page: &Path, options: &[&str], (width, height): (u32, u32)) -> Result<String> {
    let mut command = Command::new(browser);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
    ]);
    command.args(["--enable-logging=stderr", "--virtual-time-budget=5000", &format!("--window-size={width},{height}")]);
    let output = command.args(options).arg(format!("file://{}", page.display())).output()?;
    if !output.status.success() {
        bail!("{} failed on {} ({})", browser.display(), page.display(), output.status);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    if let Some(line) = errors.lines().find(|line| line.contains("CONSOLE")) {
        bail!("{}: the console of the browser has: {line}", page.display());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
