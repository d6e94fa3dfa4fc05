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
const BOTTOM: f64 = 50.0;
/// How wide a letter is at most, and how high a line of them, with the larger letters that the page's style gives to a
/// phone.
const LETTER: f64 = 10.0;
const LINE: f64 = 17.0;

/// One axis: what its numbers are, how they are spread, where its marks stand.
pub struct Axis {
    pub label: &'static str,
    pub logarithmic: bool,
    pub from: f64,
    pub to: f64,
    /// Those that come first keep their text where two would collide.
    pub marks: Vec<(f64, String)>,
    /// A value on it, in the words that appear under the pointer.
    pub exact: fn(f64) -> String,
}

#[derive(Default)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
    /// Whether the points are few and each is to be seen.
    pub dotted: bool,
}

/// A level that the lines are held against.
pub struct Bound {
    pub value: f64,
    pub text: String,
}

/// The chart as SVG. Lines are told apart by the classes `l0`, `l1`, ...; the page's style gives them colours.
pub fn lines(title: &str, x: &Axis, y: &Axis, lines: &[Line], bound: Option<&Bound>) -> String {
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escaped(title));
    grid(&mut svg, x, y);
    if let Some(Bound { value, .. }) = bound {
        let (at, right) = (vertical(y, *value), WIDTH - RIGHT);
        push(
            &mut svg,
            format_args!("<line class=\"bound\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>"),
        );
    }
    for (index, line) in lines.iter().enumerate() {
        let points: Vec<String> =
            line.points.iter().map(|(px, py)| format!("{:.1},{:.1}", horizontal(x, *px), vertical(y, *py))).collect();
        push(&mut svg, format_args!("<polyline class=\"{}\" points=\"{}\"/>", colour('l', index), points.join(" ")));
    }
    for (index, line) in lines.iter().enumerate() {
        points(&mut svg, index, line, x, y);
    }
    svg.push_str("</svg>\n");
    svg
}

/// What stands under the pointer: a spot at each point that tells its values. Without `dotted` it is seen only then.
fn points(svg: &mut String, index: usize, line: &Line, x: &Axis, y: &Axis) {
    let (radius, class) = if line.dotted { (5.0, "dot") } else { (7.0, "spot") };
    for (px, py) in &line.points {
        let (at, height) = (horizontal(x, *px), vertical(y, *py));
        let words = format!("{}: {} at {}", line.name, (y.exact)(*py), (x.exact)(*px));
        push(
            svg,
            format_args!(
                "<circle class=\"{class} {}\" cx=\"{at:.1}\" cy=\"{height:.1}\" r=\"{radius}\"><title>{}</title></circle>",
                colour('s', index),
                escaped(&words)
            ),
        );
    }
}

/// The class that gives a colour to a line (`l`), its spots (`s`), its key (`k`), or a bar (`f`); there are six, and then
/// they come again, broken.
pub fn colour(what: char, index: usize) -> String {
    let again = if index < 6 { "" } else { " again" };
    format!("{what}{}{again}", index % 6)
}

/// The names of the lines with their colours, and the bound; nothing if there is only one line.
pub fn legend(lines: &[Line], bound: Option<&Bound>) -> String {
    if lines.len() < 2 {
        return String::new();
    }
    let entry = |class: &str, name: &str| format!("<span class=\"key {class}\">{}</span>", escaped(name));
    let names = lines.iter().enumerate().map(|(index, line)| entry(&colour('k', index), &line.name));
    let bound = bound.map(|bound| entry("k-bound", &bound.text));
    format!("<p class=\"legend\">{}</p>\n", names.chain(bound).collect::<Vec<_>>().join(" "))
}

fn grid(svg: &mut String, x: &Axis, y: &Axis) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (value, _) in &y.marks {
        let at = vertical(y, *value);
        push(svg, format_args!("<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\"/>"));
    }
    let heights = y.marks.iter().map(|(value, text)| (vertical(y, *value), LINE / 2.0, text));
    for (at, text) in apart(heights) {
        push(
            svg,
            format_args!("<text class=\"y\" x=\"{}\" y=\"{:.1}\">{}</text>", LEFT - 7.0, at + 4.5, escaped(text)),
        );
    }
    for (value, _) in &x.marks {
        let at = horizontal(x, *value);
        push(svg, format_args!("<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\"/>"));
    }
    let places = x.marks.iter().map(|(value, text)| {
        let half = (text.chars().count() as f64 + 1.0) * LETTER / 2.0;
        (horizontal(x, *value).min(WIDTH - half), half, text)
    });
    for (at, text) in apart(places) {
        let height = bottom + 22.0;
        push(svg, format_args!("<text class=\"x\" x=\"{at:.1}\" y=\"{height}\">{}</text>", escaped(text)));
    }
    push(svg, format_args!("<line class=\"axis\" x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{bottom}\"/>"));
    let middle = (LEFT + right) / 2.0;
    push(svg, format_args!("<text class=\"x label\" x=\"{middle}\" y=\"{}\">{}</text>", HEIGHT - 6.0, x.label));
}

/// Those of the texts (middle, half the width, text) that stand clear of all before them.
fn apart<'a>(texts: impl Iterator<Item = (f64, f64, &'a String)>) -> Vec<(f64, &'a String)> {
    let mut placed: Vec<(f64, f64, &String)> = vec![];
    for (at, half, text) in texts {
        if placed.iter().all(|(other, its_half, _)| (at - other).abs() >= half + its_half) {
            placed.push((at, half, text));
        }
    }
    placed.into_iter().map(|(at, _, text)| (at, text)).collect()
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
pub fn linear(label: &'static str, highest: f64, text: fn(f64) -> String) -> Axis {
    between(label, 0.0, highest, text)
}

/// An axis from a round number below `lowest` to one above `highest`, with about five marks.
pub fn between(label: &'static str, lowest: f64, highest: f64, text: fn(f64) -> String) -> Axis {
    let highest = if highest > lowest { highest } else { lowest + 1.0 };
    let span = highest - lowest;
    let power = 10f64.powf((span / 5.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| step * 5.0 >= span);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((lowest / step + 1e-9).floor(), (highest / step - 1e-9).ceil());
    let marks = (first as i64..=last as i64).map(|index| (index as f64 * step, text(index as f64 * step))).collect();
    Axis { label, logarithmic: false, from: first * step, to: last * step, marks, exact: text }
}

/// A logarithmic axis that holds both ends, with marks at 1, 2 and 5 times powers of ten, or at the powers alone when
/// there are many.
pub fn logarithmic(label: &'static str, lowest: f64, highest: f64, text: fn(f64) -> String) -> Axis {
    let (lowest, highest) = (lowest.max(1.0), highest.max(lowest.max(1.0) * 1.01));
    let decades = lowest.log10().floor() as i32..=highest.log10().ceil() as i32;
    let factors: &[f64] = if highest / lowest > 2000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    // The powers of ten come first: theirs are the marks that stay.
    let all: Vec<f64> =
        factors.iter().flat_map(|factor| decades.clone().map(move |decade| factor * 10f64.powi(decade))).collect();
    let from = all.iter().copied().filter(|mark| *mark <= lowest).fold(0.0, f64::max);
    let to = all.iter().copied().filter(|mark| *mark >= highest).fold(f64::MAX, f64::min);
    let marks = all.into_iter().filter(|mark| (from..=to).contains(mark)).map(|mark| (mark, text(mark))).collect();
    Axis { label, logarithmic: true, from, to, marks, exact: text }
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
        for (lowest, highest) in [(40_000.0, 90_000.0), (1.0, 1.0), (99.0, 101.0)] {
            let axis = between("", lowest, highest, |value| value.to_string());
            assert!(axis.from <= lowest && axis.to >= highest, "{lowest} {highest}");
            assert!((2..=8).contains(&axis.marks.len()), "{:?}", axis.marks);
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
        let line = Line { name: "a<b".into(), points: vec![(-5.0, 3.0), (20.0, 99.0)], dotted: false };
        let svg = lines("title", &axis(), &axis(), &[line], None);
        assert!(svg.contains(&format!("points=\"{LEFT:.1},179.2 {:.1},{TOP:.1}\"", WIDTH - RIGHT)), "{svg}");
        assert!(svg.contains("<title>a&lt;b: 99 at 20</title>"), "{svg}");
    }

    #[test]
    fn marks_never_collide() {
        let wide = |value: f64| format!("{value} microseconds");
        for (lowest, highest) in [(1.0, 1.0), (350.0, 900.0), (80_000.0, 7_000_000.0), (1.0, 1e10)] {
            for axis in [logarithmic("", lowest, highest, wide), between("", lowest, highest, wide)] {
                let texts = axis.marks.iter().map(|(value, text)| (horizontal(&axis, *value), 60.0, text));
                let mut places: Vec<f64> = apart(texts).into_iter().map(|(at, _)| at).collect();
                places.sort_by(f64::total_cmp);
                assert!(!places.is_empty() && places.windows(2).all(|pair| pair[1] - pair[0] >= 120.0), "{places:?}");
            }
        }
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(escaped("a<b & \"c\""), "a&lt;b &amp; &quot;c&quot;");
    }
}
