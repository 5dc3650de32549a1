//! Text in pictures.

/// The text as SVG has it; characters that no picture may hold are left out.
pub fn escaped(text: &str) -> String {
    let printable = text.chars().filter(|c| !c.is_control()).collect::<String>();
    printable.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
