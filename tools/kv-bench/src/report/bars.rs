//! Horizontal bars as plain HTML, so that they fit any width. Knows nothing of what the numbers mean.

use super::chart::{colour, escaped};
use std::fmt::Write;

pub struct Bar {
    pub name: String,
    pub value: f64,
    /// The value in words, and what else stands at the bar's end.
    pub text: String,
}

/// A titled group of bars; the longest fills the width. `index` colours them like the lines of a chart.
pub fn group(title: &str, bars: &[Bar]) -> String {
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    let mut html = format!("<div class=\"bars\"><h3>{}</h3>\n", escaped(title));
    for (index, bar) in bars.iter().enumerate() {
        let width = (bar.value / longest * 100.0).clamp(0.0, 100.0);
        writeln!(
            html,
            "<div class=\"bar\"><span class=\"name\">{}</span>\
             <span class=\"track\"><span class=\"fill {}\" style=\"width:{width:.1}%\"></span></span>\
             <span class=\"value\">{}</span></div>",
            escaped(&bar.name),
            colour('f', index),
            escaped(&bar.text)
        )
        .expect("a String takes everything");
    }
    html.push_str("</div>\n");
    html
}
