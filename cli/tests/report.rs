//! `tandem report`: the page as a program sees it. A browser looks at it with `cargo x report-check`.

mod command;

use command::{Folder, digits, good, hardware, refused, stderr, stdout, tandem_with};
use serde_json::Value;
use std::collections::HashSet;

/// The sections of a page.
const SECTIONS: [&str; 8] =
    ["figures", "partition", "roofline", "timeline", "latency", "prediction", "accuracy", "memory"];
/// Attributes that are numbers in a picture.
const NUMBERS: [&str; 12] = ["x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "width", "height", "data-v"];

/// A tag: its name, its attributes, and whether it opens something.
struct Tag<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
}

/// The tags of a page that is well-formed: every tag is closed by its own, attributes are quoted and there once, and `<` and `&` are
/// nowhere else.
fn tags(html: &str) -> Vec<Tag<'_>> {
    let mut rest = html.strip_prefix("<!DOCTYPE html>\n").expect("a document type");
    let (mut open, mut tags): (Vec<&str>, Vec<Tag<'_>>) = (Vec::new(), Vec::new());
    while let Some(begin) = rest.find('<') {
        entities(&rest[..begin]);
        let end = begin + rest[begin..].find('>').expect("a tag ends");
        let (tag, inner) = (&rest[begin..=end], &rest[begin + 1..end]);
        assert!(!inner.contains('<'), "{tag}");
        rest = &rest[end + 1..];
        if let Some(name) = inner.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{tag}");
            continue;
        }
        let (inner, closed) = inner.strip_suffix('/').map_or((inner, false), |inner| (inner, true));
        let (name, mut words) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
        let mut attributes = Vec::new();
        while !words.trim_start().is_empty() {
            let (key, value) = words.trim_start().split_once("=\"").unwrap_or_else(|| panic!("{tag}"));
            let (value, more) = value.split_once('"').unwrap_or_else(|| panic!("{tag}"));
            entities(value);
            assert!(attributes.iter().all(|(other, _)| *other != key), "{tag}");
            attributes.push((key, value));
            words = more;
        }
        if !closed {
            open.push(name);
        }
        tags.push(Tag { name, attributes });
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?} {rest}");
    tags
}

fn entities(text: &str) {
    for after in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;"].iter().any(|entity| after.starts_with(entity));
        assert!(known, "a bare & in: {text}");
    }
}

/// The page of these arguments, which must be whole in itself.
fn page(folder: &Folder, arguments: &[&str]) -> (String, String) {
    let path = folder.path("report.html");
    let sentence = good(&[&["report"], arguments, &["--output", &path]].concat());
    assert!(sentence.starts_with(&path) && sentence.lines().count() == 1, "{sentence}");
    let html = std::fs::read_to_string(&path).unwrap();
    let tags = tags(&html);
    let mut ids = HashSet::new();
    for tag in &tags {
        assert!(!["link", "img", "iframe", "object", "embed", "image", "use"].contains(&tag.name), "{}", tag.name);
        for (key, value) in &tag.attributes {
            let is_link = *key == "href" && value.starts_with('#') && tag.name == "a";
            assert!(
                is_link || !["src", "href", "xlink:href", "srcset", "data", "action"].contains(key),
                "{key}={value}"
            );
            assert!(!key.starts_with("on"), "{key}={value}");
            let is_whole_width = tag.name == "rect" && *value == "100%";
            let is_text = tag.name == "meta" || is_whole_width || *value == "device-width";
            if NUMBERS.contains(key) && !is_text {
                assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{}: {key}={value}", tag.name);
            }
            if *key == "d" {
                let numbers =
                    value.split(|c: char| c.is_alphabetic() || c == ',' || c == ' ').filter(|n| !n.is_empty());
                assert!(numbers.into_iter().all(|n| n.parse::<f64>().is_ok_and(f64::is_finite)), "{value}");
                assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
            }
            if *key == "id" {
                assert!(ids.insert((*value).to_owned()), "{value} is there twice");
            }
        }
    }
    let bare = html.replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "url(", "@import", "//cdn", "NaN", "fetch(", "XMLHttp"] {
        assert!(!bare.contains(word), "{word} in the page");
    }
    for id in SECTIONS {
        assert!(ids.contains(id) && html.contains(&format!("href=\"#{id}\"")), "{id}");
    }
    (html, sentence)
}

/// The part of a page from a section to the next one.
fn section<'a>(html: &'a str, id: &str) -> &'a str {
    let begin = html.find(&format!("<section id=\"{id}\">")).unwrap();
    let end = html[begin..].find("</section>").unwrap();
    &html[begin..begin + end]
}

/// The names of the nodes of a model, in any order.
fn names(model: &str) -> Vec<String> {
    let text = good(&["partition", model, "--device", "cpu", "--format", "json"]);
    let value: Value = serde_json::from_str(&text).unwrap();
    value["nodes"].as_array().unwrap().iter().map(|node| node["node"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_report_is_one_whole_page_with_every_node_and_the_accuracy() {
    let model = digits("digits_int8.tflite");
    let (inputs, labels) = (digits("inputs_i8.bin"), digits("labels.csv"));
    let folder = Folder::new("report-page");
    let labelled =
        [&model, "--inputs", &inputs, "--labels", &labels, "--device", "fsim,cpu", "--in-flight", "4", "--limit", "60"];
    let powers = ["--watts", "fsim=2:1", "--watts", "cpu=15:5"];
    let (html, sentence) = page(&folder, &[&labelled[..], &powers].concat());
    let eval: Value = serde_json::from_str(&good(&[&["eval"], &labelled[..], &["--format", "json"]].concat())).unwrap();
    let right = format!("{} of 60", eval["correct"]);
    assert!(
        sentence.contains(&right) && section(&html, "accuracy").contains(&format!("({})", eval["correct"])),
        "{sentence}"
    );
    let partition = section(&html, "partition");
    for name in names(&model) {
        assert!(partition.contains(&format!("<td class=\"name\">{name}</td>")), "{name}");
        assert!(section(&html, "partition").contains(&format!("<title>{name}: ")), "{name}");
    }
    // Every sample is in the confusion table once.
    let cells = section(&html, "accuracy").split("<td style=").skip(1);
    let counts = cells.filter_map(|cell| cell.split('>').nth(1)?.split('<').next()?.parse::<u64>().ok());
    assert_eq!(counts.sum::<u64>(), 60);
    for words in ["Estimated", "by the functional simulator", "Measured", "Stated by the user", "fsim 2 W busy"] {
        assert!(html.contains(words), "{words}");
    }
    assert!(section(&html, "figures").contains("energy of an input, by stated powers"));
    let timeline = section(&html, "timeline");
    assert_eq!(timeline.matches("<svg ").count(), 2);
    assert!(timeline.contains("4 requests under way together") && timeline.contains("The first 8 of 60 requests"));
    assert_eq!(section(&html, "roofline").matches("<svg ").count(), 2);
    assert!(section(&html, "roofline").contains("op/B") && section(&html, "roofline").contains("measured in this run"));
}

#[test]
fn a_slow_host_leaves_work_to_accelerators_none_of_which_passes_its_roof() {
    let folder = Folder::new("report-split");
    let model = digits("digits_int8.tflite");
    let (html, sentence) = page(
        &folder,
        &[&model, "--device", "fsim,fsim,cpu", "--cpu-times", "1000", "--limit", "6", "--in-flight", "3"],
    );
    assert!(sentence.contains("estimated cycles and a projected host"), "{sentence}");
    let rows = section(&html, "roofline").split("<tr>").filter(|row| row.contains("<td>fsim"));
    let parts = rows.map(|row| row.rsplit("data-v=\"").next().unwrap().split('"').next().unwrap());
    let parts: Vec<f64> = parts.map(|part| part.parse().unwrap()).collect();
    assert!(parts.len() > 2 && parts.iter().all(|part| *part > 0.0 && *part <= 100.0), "{parts:?}");
    assert!(html.contains("1000 times those of this host") && section(&html, "roofline").contains("Without roofs"));
    assert!(section(&html, "timeline").contains("copies</text>"));
    assert!(section(&html, "memory").contains("transfers an input"));
    let bars = section(&html, "timeline").matches("request 6: ").count();
    assert_eq!(bars, 1, "a bar for the last of the requests under way together");
}

#[test]
fn sections_without_anything_say_why() {
    let folder = Folder::new("report-empty");
    let (html, sentence) = page(&folder, &[&digits("digits_int8.tflite"), "--device", "cpu", "--limit", "3"]);
    assert!(sentence.contains("(measured)") && !sentence.contains("accuracy"), "{sentence}");
    for (id, words) in [
        ("accuracy", "no labels were given"),
        ("timeline", "as --in-flight was 1"),
        ("memory", "Nothing moves between devices"),
        ("prediction", "was not run"),
        ("figures", "give --watts"),
    ] {
        assert!(section(&html, id).contains(words), "{id}: {words}");
    }
    assert!(html.contains("3 samples of zeros, as no input was given"));
}

#[test]
fn simulated_hardware_is_told_apart_from_what_is_measured() {
    let Some(variables) = hardware() else { return };
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let folder = Folder::new("report-tsim");
    let path = folder.path("tsim.html");
    let (model, inputs, labels) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("labels.csv"));
    let labelled = ["report", &model, "--inputs", &inputs, "--labels", &labels, "--limit", "4", "--output", &path];
    let output = tandem_with(&variables, &[&labelled[..], &["--device", "tsim", "--hw", "tiny"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("(simulated cycles and a measured host)"), "{}", stdout(&output));
    let html = std::fs::read_to_string(&path).unwrap();
    tags(&html);
    for words in ["counted by the simulated hardware", "memory 'zynq'", "4 on the simulated hardware"] {
        assert!(html.contains(words), "{words}");
    }
    let roofline = section(&html, "roofline");
    for words in ["largest stall", "its cycles", "what would remove it"] {
        assert!(roofline.contains(words), "{words}");
    }
    // Every node on the hardware that is listed has its stall.
    let rows: Vec<&str> = roofline.split("<tr>").filter(|row| row.contains("<td>tsim</td>")).collect();
    assert!(!rows.is_empty() && rows.iter().all(|row| !row.contains("<td class=\"n\">-</td>")), "{rows:?}");
    assert!(!html.contains("Estimated"), "{path}");
}

#[test]
fn names_of_a_model_file_cannot_become_markup() {
    let folder = Folder::new("report-names");
    let graph = folder.path("bad.graph");
    good(&["import", &digits("digits_int8.tflite"), "-o", &graph]);
    let text = std::fs::read_to_string(&graph).unwrap();
    let bad = r#"</title><script>alert(1)</script>&amp;\" onload=\"x"#;
    let text = text
        .replace("node \"stem\"", &format!("node \"{bad}\""))
        .replace("graph \"Tandem digits", "graph \"<img src=x>");
    let graph = folder.file("<b>&bad.graph", text);
    let (html, _) = page(&folder, &[&graph, "--device", "fsim,cpu", "--limit", "2", "--in-flight", "2"]);
    assert!(!html.contains("alert(1)</script>") && !html.contains("<img") && !html.contains("<b>&"));
    assert!(html.contains("&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;&quot; onload=&quot;x"));
    assert!(html.contains("&lt;img src=x&gt; demo") && html.contains("<h1>&lt;b&gt;&amp;bad</h1>"));
}

#[test]
fn what_cannot_be_reported_is_refused_and_leaves_nothing() {
    let (model, inputs, labels) = (digits("digits_int8.tflite"), digits("inputs_i8.bin"), digits("labels.csv"));
    let folder = Folder::new("report-refused");
    let out = folder.path("r.html");
    let none = folder.path("no/r.html");
    let few = folder.file("few.csv", "a,10,1\nb,10,2\n");
    let far = folder.file("far.csv", "a,10,1\n".repeat(359) + "b,10,10\n");
    let this = folder.path(".");
    refused(&["report", &model, "--output", &none], &["no/r.html", "cannot be written"]);
    refused(&["report", &model, "--output", &this], &["no file"]);
    refused(&["report", &model, "--output", "-"], &["--output -", "give a file"]);
    let with = |more: &[&str], words: &[&str]| refused(&[&["report", &model, "--output", &out], more].concat(), words);
    with(&["--inputs", &inputs, "--labels", &few], &["few.csv", "labels 2 samples", "360"]);
    with(&["--inputs", &inputs, "--labels", &far], &["far.csv", "line 360", "class 10"]);
    with(&["--inputs", &inputs], &["--labels"]);
    with(&["--labels", &labels], &["--inputs"]);
    with(&["--inputs", &inputs, "--labels", &labels, "--input", &inputs], &["--input"]);
    with(&["--objective", "throughput"], &["--objective", "fsim,cpu"]);
    with(&["--device", "fsim,cpu", "--objective", "energy"], &["--watts cpu=BUSY:IDLE"]);
    with(&["--watts", "gpu=1:0"], &["--watts gpu", "cpu, fsim"]);
    let left: Vec<_> = std::fs::read_dir(folder.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}
