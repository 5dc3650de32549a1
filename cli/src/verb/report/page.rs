//! The page: one file with everything in it, whose parts are in the order in which they are asked about.

use super::{Facts, accuracy, head, latency, memory, prediction, roofline, split, timeline};
use crate::svg::escaped;
use std::fmt::Write;

/// Nothing is fetched, whatever a browser makes of the text.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// A part of the page below a heading.
type Section = (&'static str, &'static str, fn(&Facts<'_>) -> String);

const SECTIONS: [Section; 8] = [
    ("figures", "Key figures", head::figures),
    ("partition", "Partition", split::html),
    ("roofline", "Roofline", roofline::html),
    ("timeline", "Timeline", timeline::html),
    ("latency", "Latency", latency::html),
    ("prediction", "Prediction and measurement", prediction::html),
    ("accuracy", "Accuracy", accuracy::html),
    ("memory", "Transfers and memory", memory::html),
];

/// The whole page. Its text is well-formed XML too, so that any tool can look into it.
pub fn html(facts: &Facts<'_>) -> String {
    let title = escaped(&facts.title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         <title>{title}: tandem report</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{}",
        include_str!("page.css"),
        head::title(facts)
    );
    html.push_str("<nav aria-label=\"Sections\">");
    for (id, name, _) in SECTIONS {
        let _ = write!(html, "<a href=\"#{id}\">{name}</a>");
    }
    html.push_str("</nav>\n");
    for (id, name, body) in SECTIONS {
        let _ = write!(html, "<section id=\"{id}\">\n<h2>{name}</h2>\n{}</section>\n", body(facts));
    }
    let _ = write!(html, "</main>\n<script>\n{}</script>\n</body>\n</html>\n", include_str!("page.js"));
    html
}

/// A paragraph of text, which is escaped.
pub fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escaped(text))
}

/// A paragraph that is less important.
pub fn note(text: &str) -> String {
    format!("<p class=\"dim\">{}</p>\n", escaped(text))
}

/// A cell of a table.
pub struct Cell {
    html: String,
    class: &'static str,
    /// By what its column is sorted, where that is not the text.
    key: Option<f64>,
}

impl Cell {
    /// Text, which is escaped.
    pub fn text(text: &str) -> Cell {
        Cell { html: escaped(text), class: "", key: None }
    }

    /// A number, shown as that text.
    pub fn number(value: f64, shown: &str) -> Cell {
        Cell { html: escaped(shown), class: "n", key: value.is_finite().then_some(value) }
    }

    /// No number where the others of the column have one.
    pub fn none() -> Cell {
        Cell { html: "-".to_owned(), class: "n", key: None }
    }

    /// Markup.
    pub fn html(html: String) -> Cell {
        Cell { html, class: "", key: None }
    }

    /// The same with a class of the style sheet.
    pub fn with(self, class: &'static str) -> Cell {
        Cell { class, ..self }
    }
}

/// A table; `numbers` are the columns of numbers. A click on a header sorts it, where it is to be sorted.
pub fn table(header: &[&str], numbers: &[usize], rows: impl IntoIterator<Item = Vec<Cell>>, is_sorted: bool) -> String {
    let mut html = "<table>\n<thead><tr>".to_owned();
    for (column, name) in header.iter().enumerate() {
        let class = if numbers.contains(&column) { " class=\"n\"" } else { "" };
        let name = escaped(name);
        let name = if is_sorted { format!("<button type=\"button\">{name}</button>") } else { name };
        let _ = write!(html, "<th scope=\"col\"{class}>{name}</th>");
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for Cell { html: inner, class, key } in row {
            let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
            let key = key.map_or_else(String::new, |key| format!(" data-v=\"{key}\""));
            let _ = write!(html, "<td{class}{key}>{inner}</td>");
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table>\n");
    html
}

/// What may be wider than the page, which scrolls by itself then.
pub fn wide(inner: &str, label: &str) -> String {
    scrolled("wide", inner, label)
}

/// What may be wider and longer than the page.
pub fn tall(inner: &str, label: &str) -> String {
    scrolled("wide tall", inner, label)
}

fn scrolled(class: &str, inner: &str, label: &str) -> String {
    format!("<div class=\"{class}\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">\n{inner}</div>\n", escaped(label))
}

/// A square of a colour and what it stands for.
pub fn key(colour: &str, text: &str) -> String {
    format!("<span><i class=\"key\" style=\"background:{colour}\"></i>{}</span>", escaped(text))
}

/// Keys beside each other.
pub fn legend(keys: impl IntoIterator<Item = String>) -> String {
    format!("<div class=\"legend\">{}</div>\n", keys.into_iter().collect::<String>())
}
