//! Tables and numbers for people.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// Width of tables where the terminal does not say.
const WIDTH: u16 = 120;

/// A table with a header; `right` are the columns of numbers.
pub fn table(header: &[&str], right: &[usize], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let width = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok()).filter(|&w| w >= 60).unwrap_or(WIDTH);
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.set_header(header.iter().map(Cell::new));
    for row in rows {
        table.add_row(row.into_iter().map(Cell::new));
    }
    for &column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

/// A number with a comma between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// A part of a whole as a percentage, without rounding up to 100.
pub fn percent(share: Option<f64>) -> String {
    match share {
        None => "-".to_owned(),
        Some(s) => {
            let rounded = (s * 1e4).round() / 1e2;
            if s < 1.0 && rounded >= 100.0 { "99.99 %".to_owned() } else { format!("{rounded:.2} %") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_easily() {
        assert_eq!((grouped(0), grouped(999), grouped(12_501_632)), ("0".into(), "999".into(), "12,501,632".into()));
        assert_eq!((percent(Some(0.999_999)), percent(Some(1.0))), ("99.99 %".into(), "100.00 %".into()));
        assert_eq!((percent(Some(0.865)), percent(None)), ("86.50 %".into(), "-".into()));
    }
}
