//! Line charts as inline SVG. Knows nothing of what the numbers mean.
//!
//! The drawing is small (480 x 300) with large letters: two stand beside each other on a screen, and one fills a phone
//! and stays legible.

use std::fmt::Write;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;
/// About how wide a letter is.
const LETTER: f64 = 7.5;

/// One axis: what its numbers are, how they are spread, where its marks stand.
pub struct Axis {
    pub label: &'static str,
    pub logarithmic: bool,
    pub from: f64,
    pub to: f64,
    pub marks: Vec<(f64, String)>,
}

pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// The chart as SVG. Lines are told apart by the classes `l0`, `l1`, ...; the page's style gives them colours.
pub fn lines(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escaped(title));
    grid(&mut svg, x, y);
    for (index, line) in lines.iter().enumerate() {
        let points: Vec<String> =
            line.points.iter().map(|(px, py)| format!("{:.1},{:.1}", horizontal(x, *px), vertical(y, *py))).collect();
        push(&mut svg, format_args!("<polyline class=\"l{index}\" points=\"{}\"/>", points.join(" ")));
    }
    svg.push_str("</svg>\n");
    svg
}

/// The names of the lines with their colours; nothing if there is only one.
pub fn legend(lines: &[Line]) -> String {
    if lines.len() < 2 {
        return String::new();
    }
    let entry = |(index, line): (usize, &Line)| format!("<span class=\"key k{index}\">{}</span>", escaped(&line.name));
    format!("<p class=\"legend\">{}</p>\n", lines.iter().enumerate().map(entry).collect::<Vec<_>>().join(" "))
}

fn grid(svg: &mut String, x: &Axis, y: &Axis) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (value, text) in &y.marks {
        let at = vertical(y, *value);
        push(svg, format_args!("<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>"));
        push(
            svg,
            format_args!("<text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>", LEFT - 7.0, at + 4.5, escaped(text)),
        );
    }
    for (value, text) in &x.marks {
        let at = horizontal(x, *value);
        // A long last mark would stick out to the right.
        let end = at + text.chars().count() as f64 * LETTER / 2.0;
        let (class, beside) = if end > WIDTH { ("y", WIDTH - 1.0) } else { ("x", at) };
        push(svg, format_args!("<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>"));
        let height = bottom + 18.0;
        push(svg, format_args!("<text class=\"{class}\" x=\"{beside:.1}\" y=\"{height}\">{}</text>", escaped(text)));
    }
    push(svg, format_args!("<line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\"/>"));
    let middle = (LEFT + right) / 2.0;
    push(svg, format_args!("<text class=\"x label\" x=\"{middle}\" y=\"{}\">{}</text>", HEIGHT - 7.0, x.label));
}

fn push(svg: &mut String, element: std::fmt::Arguments) {
    writeln!(svg, "{element}").expect("a String takes everything");
}

fn horizontal(axis: &Axis, value: f64) -> f64 {
    LEFT + share(axis, value) * (WIDTH - LEFT - RIGHT)
}

fn vertical(axis: &Axis, value: f64) -> f64 {
    HEIGHT - BOTTOM - share(axis, value) * (HEIGHT - TOP - BOTTOM)
}

/// Where a value stands between the axis' ends, 0 to 1.
fn share(axis: &Axis, value: f64) -> f64 {
    let place = |value: f64| if axis.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
    let (from, to) = (place(axis.from), place(axis.to));
    ((place(value) - from) / (to - from)).clamp(0.0, 1.0)
}

/// An axis from 0 to a round number above `highest`, with about five marks.
pub fn linear(label: &'static str, highest: f64, text: impl Fn(f64) -> String) -> Axis {
    let highest = if highest > 0.0 { highest } else { 1.0 };
    let power = 10f64.powf((highest / 5.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| step * 5.0 >= highest);
    let step = step.unwrap_or(10.0 * power);
    let count = (highest / step - 1e-9).ceil().max(1.0);
    let marks = (0..=count as usize).map(|index| (index as f64 * step, text(index as f64 * step))).collect();
    Axis { label, logarithmic: false, from: 0.0, to: count * step, marks }
}

/// A logarithmic axis that holds both ends, with marks at 1, 2 and 5 times powers of ten, or at the powers alone when
/// there are many.
pub fn logarithmic(label: &'static str, lowest: f64, highest: f64, text: impl Fn(f64) -> String) -> Axis {
    let (lowest, highest) = (lowest.max(1.0), highest.max(lowest.max(1.0) * 1.01));
    let decades = lowest.log10().floor() as i32..=highest.log10().ceil() as i32;
    let factors: &[f64] = if highest / lowest > 2000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all: Vec<f64> =
        decades.flat_map(|decade| factors.iter().map(move |factor| factor * 10f64.powi(decade))).collect();
    let from = all.iter().copied().rfind(|mark| *mark <= lowest).unwrap_or(lowest);
    let to = all.iter().copied().find(|mark| *mark >= highest).unwrap_or(highest);
    let marks = all.into_iter().filter(|mark| (from..=to).contains(mark)).map(|mark| (mark, text(mark))).collect();
    Axis { label, logarithmic: true, from, to, marks }
}

/// Text as it may stand in HTML and SVG.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_hold_their_values_between_round_marks() {
        for highest in [0.0, 0.3, 1.0, 7.0, 99.0, 123_456.0] {
            let axis = linear("", highest, |value| value.to_string());
            assert!(axis.to >= highest && (2..=7).contains(&axis.marks.len()), "{highest}: {:?}", axis.marks);
        }
        for (lowest, highest) in [(1.0, 1.0), (350.0, 900.0), (80_000.0, 7_000_000.0), (1.0, 1e10)] {
            let axis = logarithmic("", lowest, highest, |value| value.to_string());
            assert!(axis.from <= lowest && axis.to >= highest, "{lowest} {highest}");
            assert!((2..=12).contains(&axis.marks.len()), "{:?}", axis.marks);
        }
    }

    #[test]
    fn points_stay_inside_the_drawing() {
        let axis = || linear("", 10.0, |value| value.to_string());
        let line = Line { name: "a<b".into(), points: vec![(-5.0, 3.0), (20.0, 99.0)] };
        let svg = lines("title", &axis(), &axis(), &[line]);
        assert!(svg.contains(&format!("points=\"{LEFT:.1},182.0 {:.1},{TOP:.1}\"", WIDTH - RIGHT)), "{svg}");
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("a<b & \"c\""), "a&lt;b &amp; &quot;c&quot;");
    }
}
